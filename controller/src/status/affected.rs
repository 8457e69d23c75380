//! Whose status may not be as it should be, so that a plan costs what changed.

use std::collections::BTreeSet;

use crate::translate::ObjectId;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Affected {
    #[default]
    Nothing,
    Objects(BTreeSet<ObjectId>),
    Everything,
}

impl Affected {
    /// Whether there is nothing to plan.
    pub fn is_nothing(&self) -> bool {
        *self == Affected::Nothing
    }
}

impl Extend<ObjectId> for Affected {
    fn extend<I: IntoIterator<Item = ObjectId>>(&mut self, objects: I) {
        let mut objects = objects.into_iter().peekable();
        if objects.peek().is_none() {
            return;
        }
        match self {
            Affected::Everything => {}
            Affected::Objects(known) => known.extend(objects),
            Affected::Nothing => *self = Affected::Objects(objects.collect()),
        }
    }
}

impl std::ops::AddAssign for Affected {
    fn add_assign(&mut self, other: Self) {
        match other {
            Affected::Nothing => {}
            Affected::Objects(objects) => self.extend(objects),
            Affected::Everything => *self = Affected::Everything,
        }
    }
}
