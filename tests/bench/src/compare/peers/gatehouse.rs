//! Our dataplane, as a pod runs it: metrics, policies and limits are on.

use std::process::Command;

use gatehouse_tests::certs::Authority;

use super::Setup;
use crate::compare::controller::Controller;

pub(super) async fn command(setup: &Setup<'_>, authority: &Authority) -> (Command, Option<Controller>) {
    let controller = Controller::start(setup, authority).await;
    let program = std::env::var_os("GATEHOUSE_DATAPLANE").map_or_else(
        || std::env::current_exe().expect("a program has a path").with_file_name("gatehouse-dataplane"),
        Into::into,
    );
    let mut command = Command::new(program);
    command.args(controller.arguments(setup.folder)).env("GATEHOUSE_LOG", "warn");
    (command, Some(controller))
}
