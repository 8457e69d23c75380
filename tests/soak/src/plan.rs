//! How much of everything.

/// Every count is of the whole run. Changes come at even distances, measured in requests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) requests: u64,
    /// Requests a second.
    pub(crate) rate: f64,
    pub(crate) route_changes: u64,
    /// Of every pod of every Service.
    pub(crate) backend_rolls: u64,
    pub(crate) certificate_renewals: u64,
    /// Of every dataplane.
    pub(crate) dataplane_rolls: u64,
    pub(crate) controller_restarts: u64,
}

impl Plan {
    pub(crate) const WHOLE: Plan = Plan {
        requests: 2_000_000,
        rate: 5000.0,
        route_changes: 1000,
        backend_rolls: 20,
        certificate_renewals: 20,
        dataplane_rolls: 10,
        controller_restarts: 5,
    };

    /// A tenth, as slow as a build that was not made to be quick.
    pub(crate) const QUICK: Plan = Plan {
        requests: 200_000,
        rate: 3000.0,
        route_changes: 100,
        backend_rolls: 2,
        certificate_renewals: 2,
        dataplane_rolls: 1,
        controller_restarts: 1,
    };

    pub(crate) fn changes(&self) -> u64 {
        self.route_changes
            + self.backend_rolls
            + self.certificate_renewals
            + self.dataplane_rolls
            + self.controller_restarts
    }
}
