//! Faults that a rule of a GatewayRoute injects.

use gatehouse_crds::{Fault, FaultAbort, FaultDelay};
use gatehouse_proto::config::v1;

use super::{check, rule::milliseconds};

/// Milliseconds.
const LONGEST: u64 = 60_000;

/// The error names the field.
pub(super) fn translate(fault: &Fault) -> Result<v1::Fault, String> {
    let header = fault.header.as_ref().map(|header| {
        check::token(&header.name).map_err(|error| format!("fault.header.name: {error}"))?;
        Ok::<_, String>(v1::Header { name: header.name.clone(), value: header.value.clone() })
    });
    if fault.delay.is_none() && fault.abort.is_none() {
        return Err("fault: give delay, abort or both".into());
    }
    Ok(v1::Fault {
        header: header.transpose()?,
        delay: fault.delay.as_ref().map(delay).transpose()?,
        abort: fault.abort.as_ref().map(abort).transpose()?,
    })
}

fn delay(delay: &FaultDelay) -> Result<v1::FaultDelay, String> {
    let duration = milliseconds(&delay.duration).map_err(|error| format!("fault.delay.duration: {error}"))?;
    if !(1..=LONGEST).contains(&duration) {
        return Err(format!("fault.delay.duration is {}: use 1ms to 1m", delay.duration));
    }
    Ok(v1::FaultDelay { duration_ms: duration, share_ppm: share("fault.delay.percent", delay.percent)? })
}

fn abort(abort: &FaultAbort) -> Result<v1::FaultAbort, String> {
    let within = |field: &str, number: i32, least: u32, most: u32| {
        let number = u32::try_from(number).ok().filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| format!("fault.abort.{field}: use {least} to {most}"))
    };
    let grpc_status = abort.grpc_status.map(|code| within("grpcStatus", code, 1, 16)).transpose()?;
    Ok(v1::FaultAbort {
        status: within("status", abort.status, 400, 599)?,
        grpc_status: grpc_status.unwrap_or(0),
        share_ppm: share("fault.abort.percent", abort.percent)?,
    })
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Within 0 and a million.
fn share(field: &str, percent: f64) -> Result<u32, String> {
    if (0.0..=100.0).contains(&percent) {
        return Ok((percent * 10_000.0).round() as u32);
    }
    Err(format!("{field} is {percent}: use 0 to 100"))
}
