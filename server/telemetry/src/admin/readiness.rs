//! Whether clients may come.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// A list of conditions that must all hold before clients may come. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    /// Each condition by name, with the reason why it does not hold; `None` if it does.
    conditions: Arc<Mutex<BTreeMap<&'static str, Option<String>>>>,
}

impl Readiness {
    /// Without conditions: ready.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// `condition` does not hold (any more), for this reason.
    pub fn unmet(&self, condition: &'static str, reason: impl Into<String>) {
        self.lock().insert(condition, Some(reason.into()));
    }

    /// `condition` holds.
    pub fn met(&self, condition: &'static str) {
        self.lock().insert(condition, None);
    }

    /// Whether all conditions hold.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.lock().values().all(Option::is_none)
    }

    /// The conditions that do not hold, by name, each with its reason.
    #[must_use]
    pub fn reasons(&self) -> Vec<(&'static str, String)> {
        let conditions = self.lock();
        let unmet = |(&name, reason): (&&'static str, &Option<String>)| Some((name, reason.clone()?));
        conditions.iter().filter_map(unmet).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Option<String>>> {
        self.conditions.lock().expect("no holder of this lock panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_that_every_condition_holds() {
        let readiness = Readiness::new();
        assert!(readiness.is_ready());
        readiness.unmet("lane", "its scripts are being loaded");
        readiness.unmet("edge", "not bound");
        readiness.met("lane");
        assert!(!readiness.is_ready());
        assert_eq!(readiness.reasons(), [("edge", "not bound".to_owned())]);
        readiness.clone().met("edge");
        assert!(readiness.is_ready());
    }
}
