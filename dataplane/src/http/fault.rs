//! Holds requests up and answers them in place of the backend, where their rule says so.

use http::HeaderMap;
use tokio::time::{Instant, sleep_until};

use super::{exchange::Exchange, grpc, respond::Refusal};
use crate::{
    Reason,
    filter::Fault,
    snapshot::{Action, Plan},
};

/// To be dropped when the client goes.
pub(super) async fn inject(
    fault: &Fault,
    plan: &Plan,
    headers: &HeaderMap,
    exchange: &mut Exchange,
) -> Result<(), Refusal> {
    if !fault.is_for(headers) {
        return Ok(());
    }
    if let Some(delay) = fault.delay(|| exchange.worker().random()) {
        exchange.held_up();
        let limit = match &plan.action {
            Action::Aggregate(aggregate) => Some(aggregate.timeout),
            _ => plan.timeouts.request(),
        };
        let own_limit = if grpc::is_grpc(headers) { grpc::timeout(headers) } else { None };
        let deadline = limit.into_iter().chain(own_limit).min().map(|limit| exchange.started() + limit);
        let until = Instant::now() + delay;
        if let Some(deadline) = deadline.filter(|deadline| *deadline <= until) {
            sleep_until(deadline).await;
            return Err(Reason::FaultDelayed.into());
        }
        sleep_until(until).await;
    }
    match fault.abort(|| exchange.worker().random()) {
        None => Ok(()),
        Some(abort) => Err(Refusal { abort: Some(abort), ..Refusal::from(Reason::FaultAborted) }),
    }
}
