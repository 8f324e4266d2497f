//! Manual interest: subjects that an observer keeps in view however far away they are.
//!
//! Few pairs, kept as lists. A pair with a record is told by its record alone; the fields' edges of it are not.

/// One observer's interest in one subject.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    pub(crate) subject: u32,
    /// Manual interest is set. If not, the next update resolves the record and drops it.
    pub(crate) is_set: bool,
    /// The subject was in view in the last update.
    pub(crate) was_visible: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Manuals {
    /// By observer; ascending by subject.
    records: Vec<Vec<Record>>,
    /// Observers with records, ascending.
    observers: Vec<u32>,
}

impl Manuals {
    pub(crate) fn of(&self, observer: u32) -> &[Record] {
        self.records.get(observer as usize).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn of_mut(&mut self, observer: u32) -> &mut Vec<Record> {
        &mut self.records[observer as usize]
    }

    pub(crate) fn observers(&self) -> &[u32] {
        &self.observers
    }

    pub(crate) fn has(&self, observer: u32, subject: u32) -> bool {
        self.of(observer)
            .binary_search_by_key(&subject, |record| record.subject)
            .is_ok()
    }

    /// Sets or ends an interest; `was_visible` is asked if there is no record yet.
    pub(crate) fn set(
        &mut self,
        observer: u32,
        subject: u32,
        is_set: bool,
        was_visible: impl FnOnce() -> bool,
    ) {
        if self.records.len() <= observer as usize {
            self.records.resize_with(observer as usize + 1, Vec::new);
        }
        let records = &mut self.records[observer as usize];
        match records.binary_search_by_key(&subject, |record| record.subject) {
            Ok(at) => records[at].is_set = is_set,
            Err(at) if is_set => {
                if let Err(at) = self.observers.binary_search(&observer) {
                    self.observers.insert(at, observer);
                }
                records.insert(
                    at,
                    Record {
                        subject,
                        is_set,
                        was_visible: was_visible(),
                    },
                );
            }
            Err(_) => {}
        }
    }

    /// The observer's life has ended.
    pub(crate) fn forget_observer(&mut self, observer: u32) {
        if let Ok(at) = self.observers.binary_search(&observer) {
            self.observers.remove(at);
            self.records[observer as usize].clear();
        }
    }

    /// The subject's life has ended.
    pub(crate) fn forget_subject(&mut self, subject: u32) {
        let records = &mut self.records;
        self.observers.retain(|observer| {
            let records = &mut records[*observer as usize];
            records.retain(|record| record.subject != subject);
            !records.is_empty()
        });
    }

    /// Drops the records of interests that have ended.
    pub(crate) fn drop_resolved(&mut self) {
        let records = &mut self.records;
        self.observers.retain(|observer| {
            let records = &mut records[*observer as usize];
            records.retain(|record| record.is_set);
            !records.is_empty()
        });
    }
}
