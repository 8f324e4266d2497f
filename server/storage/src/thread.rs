//! The thread on which a store may block, with a bounded queue before it.
//!
//! A request that was taken is always answered. What gives way when the disk is slower than the lane is the
//! queue: it refuses, and the lane asks again in a later tick with newer state, so nothing is saved twice over.

use crate::{SaveOutcome, Storage, StorageReply, StorageRequest, serve};
use crossbeam_channel::{Receiver, SendTimeoutError, Sender, TrySendError, bounded};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use thiserror::Error;

/// Called on the storage thread after each request.
pub type Observer = Box<dyn FnMut(Served) + Send>;

/// What one request came to, for metrics and logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// From taking the request off the queue to its answer.
    pub took: Duration,
    /// It was a save; else it was a load.
    pub save: bool,
    /// Entities saved.
    pub saved: u64,
    /// Entities refused, because the store holds a higher epoch of them.
    pub fenced: u64,
    /// What went wrong, for the log.
    pub error: Option<String>,
}

/// Why a request was not taken.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum SubmitError {
    /// The queue is full. Ask again later.
    #[error("the storage queue is full")]
    Full(StorageRequest),
    /// The thread has ended.
    #[error("the storage thread has ended")]
    Stopped(StorageRequest),
}

/// The storage thread panicked: what it had not answered is not saved.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the storage thread panicked: {0}")]
pub struct JoinError(String);

/// A running storage thread.
#[derive(Debug)]
pub struct StorageThread {
    requests: Sender<StorageRequest>,
    /// Never carries a value; it closes when the thread is asked to end.
    open: Sender<()>,
    thread: JoinHandle<()>,
}

/// How long an ending thread waits for a reader of its answers that does not read.
const LAST_REPLIES_WAIT: Duration = Duration::from_millis(500);

impl StorageThread {
    /// Starts the thread. At most `requests_max` requests wait; answers go to `replies`, in the order of the
    /// requests.
    ///
    /// `replies` should have room for `requests_max` answers or be unbounded: the thread waits for room.
    ///
    /// # Errors
    /// If the system gives no thread.
    ///
    /// # Panics
    /// If `requests_max` is zero.
    pub fn start(
        mut storage: Box<dyn Storage>,
        replies: Sender<StorageReply>,
        requests_max: usize,
        mut observer: Observer,
    ) -> std::io::Result<Self> {
        assert!(requests_max > 0, "a queue with room for nothing takes nothing");
        let (requests, queue) = bounded(requests_max);
        let (open, closing) = bounded(0);
        let thread = thread::Builder::new().name("storage".to_owned()).spawn(move || {
            let mut replies = Replies {
                sender: Some(replies),
                closing,
            };
            for request in queue {
                let started = Instant::now();
                let reply = serve(storage.as_mut(), request);
                observer(Served::new(&reply, started.elapsed()));
                replies.send(reply);
            }
        })?;
        Ok(Self {
            requests,
            open,
            thread,
        })
    }

    /// Hands a request to the thread. Never waits.
    ///
    /// # Errors
    /// With the request, if the queue is full or the thread has ended.
    pub fn try_submit(&self, request: StorageRequest) -> Result<(), SubmitError> {
        self.requests.try_send(request).map_err(|error| match error {
            TrySendError::Full(request) => SubmitError::Full(request),
            TrySendError::Disconnected(request) => SubmitError::Stopped(request),
        })
    }

    /// Requests that wait.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.requests.len()
    }

    /// Serves and answers every request taken so far, then ends the thread. Blocks.
    ///
    /// Should nobody read the answers and their channel be full, the requests are still served, but answers
    /// without a reader are given up after half a second.
    ///
    /// # Errors
    /// If the thread panicked.
    pub fn join(self) -> Result<(), JoinError> {
        drop(self.requests);
        drop(self.open);
        self.thread.join().map_err(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            JoinError(text.unwrap_or("no message").to_owned())
        })
    }
}

impl Served {
    fn new(reply: &StorageReply, took: Duration) -> Self {
        let (save, outcomes, error) = match reply {
            StorageReply::Avatar { result, .. } => (false, [].as_slice(), result.as_ref().err()),
            StorageReply::Saved { result, .. } => match result {
                Ok(outcomes) => (true, outcomes.as_slice(), None),
                Err(error) => (true, [].as_slice(), Some(error)),
            },
        };
        let count = |wanted| outcomes.iter().filter(|&&outcome| outcome == wanted).count() as u64;
        Self {
            took,
            save,
            saved: count(SaveOutcome::Saved),
            fenced: count(SaveOutcome::Fenced),
            error: error.cloned(),
        }
    }
}

/// Where answers go.
struct Replies {
    /// `None` once there is no reader, or none who reads at the end.
    sender: Option<Sender<StorageReply>>,
    closing: Receiver<()>,
}

impl Replies {
    fn send(&mut self, reply: StorageReply) {
        let Some(sender) = &self.sender else { return };
        // Either there is room, or the wait for it ends when the thread is asked to end.
        let reply = crossbeam_channel::select! {
            send(sender, reply) -> sent => match sent {
                Ok(()) => return,
                Err(lost) => lost.into_inner(),
            },
            recv(self.closing) -> _ => reply,
        };
        if let Err(SendTimeoutError::Timeout(_) | SendTimeoutError::Disconnected(_)) =
            sender.send_timeout(reply, LAST_REPLIES_WAIT)
        {
            self.sender = None;
        }
    }
}

#[cfg(all(test, feature = "redb"))]
mod tests {
    use super::*;
    use crate::conformance::entity;
    use crate::{MemoryStorage, SavedEntity, StorageError};
    use crossbeam_channel::unbounded;

    fn save(request: u64) -> StorageRequest {
        StorageRequest::Save {
            request,
            entities: vec![entity(request, None, (1, 0))],
        }
    }

    fn request_of(reply: &StorageReply) -> u64 {
        match reply {
            StorageReply::Avatar { request, .. } | StorageReply::Saved { request, .. } => *request,
        }
    }

    /// A store that waits for a word before each save, and fails or panics when told to.
    struct Gated {
        inner: MemoryStorage,
        gate: Receiver<Gate>,
        /// Told when a save begins.
        entered: Sender<()>,
    }

    enum Gate {
        Save,
        Fail,
        Panic,
    }

    impl Storage for Gated {
        fn load_avatar(&mut self, account: &str) -> Result<Option<SavedEntity>, StorageError> {
            self.inner.load_avatar(account)
        }

        fn save(&mut self, entities: &[SavedEntity]) -> Result<Vec<SaveOutcome>, StorageError> {
            self.entered.send(()).expect("the test listens");
            match self.gate.recv().expect("the test decides") {
                Gate::Save => self.inner.save(entities),
                Gate::Fail => Err(StorageError::Database {
                    action: "commit",
                    detail: "no space left".to_owned(),
                }),
                Gate::Panic => panic!("the disk is on fire"),
            }
        }

        fn meta(&mut self, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
            self.inner.meta(key)
        }

        fn set_meta(&mut self, key: &str, value: &[u8]) -> Result<(), StorageError> {
            self.inner.set_meta(key, value)
        }
    }

    fn gated() -> (Gated, Sender<Gate>, Receiver<()>) {
        let (gate, gate_out) = unbounded();
        let (entered_in, entered) = unbounded();
        let store = Gated {
            inner: MemoryStorage::new(),
            gate: gate_out,
            entered: entered_in,
        };
        (store, gate, entered)
    }

    #[test]
    fn every_request_is_answered_in_order_before_the_thread_ends() {
        let storage = MemoryStorage::new();
        let (replies, answers) = unbounded();
        let (seen, served) = unbounded();
        let observer: Observer = Box::new(move |one| seen.send(one).expect("the test listens"));
        let thread =
            StorageThread::start(Box::new(storage.clone()), replies, 200, observer).expect("a thread");
        for request in 0..100 {
            thread.try_submit(save(request)).expect("there is room");
        }
        thread.join().expect("no panic");
        let answered: Vec<u64> = answers.iter().map(|reply| request_of(&reply)).collect();
        assert_eq!(answered, (0..100).collect::<Vec<_>>());
        assert_eq!(storage.entities().len(), 100);
        assert_eq!(served.iter().map(|one| one.saved).sum::<u64>(), 100);
    }

    #[test]
    fn a_full_queue_gives_the_request_back() {
        let (store, gate, entered) = gated();
        let (replies, answers) = unbounded();
        let thread = StorageThread::start(Box::new(store), replies, 2, Box::new(|_| ())).expect("a thread");
        thread.try_submit(save(0)).expect("there is room");
        entered.recv().expect("the save has begun");
        thread.try_submit(save(1)).expect("there is room");
        thread.try_submit(save(2)).expect("there is room");
        assert_eq!(thread.try_submit(save(3)), Err(SubmitError::Full(save(3))));
        assert_eq!(thread.queued(), 2);
        for _ in 0..3 {
            gate.send(Gate::Save).expect("the store waits");
        }
        thread.join().expect("no panic");
        assert_eq!(answers.iter().count(), 3);
    }

    #[test]
    fn an_error_is_an_answer() {
        let (store, gate, _entered) = gated();
        let (replies, answers) = unbounded();
        let (seen, served) = unbounded();
        let observer: Observer = Box::new(move |one| seen.send(one).expect("the test listens"));
        let thread = StorageThread::start(Box::new(store), replies, 2, observer).expect("a thread");
        gate.send(Gate::Fail).expect("the store waits");
        thread.try_submit(save(9)).expect("there is room");
        thread.join().expect("no panic");
        let expected = StorageReply::Saved {
            request: 9,
            result: Err("the store failed to commit: no space left".to_owned()),
        };
        assert_eq!(answers.recv(), Ok(expected));
        let one = served.recv().expect("observed");
        assert_eq!((one.save, one.saved, one.error.is_some()), (true, 0, true));
    }

    #[test]
    fn a_reader_that_is_gone_loses_no_save() {
        let storage = MemoryStorage::new();
        let (replies, answers) = unbounded();
        drop(answers);
        let thread =
            StorageThread::start(Box::new(storage.clone()), replies, 8, Box::new(|_| ())).expect("a thread");
        for request in 0..8 {
            thread.try_submit(save(request)).expect("there is room");
        }
        thread.join().expect("no panic");
        assert_eq!(storage.entities().len(), 8);
    }

    #[test]
    fn a_reader_that_does_not_read_keeps_no_save_back_at_the_end() {
        let storage = MemoryStorage::new();
        let (replies, answers) = bounded(1);
        let thread =
            StorageThread::start(Box::new(storage.clone()), replies, 8, Box::new(|_| ())).expect("a thread");
        for request in 0..8 {
            thread.try_submit(save(request)).expect("there is room");
        }
        thread.join().expect("no panic");
        assert_eq!(storage.entities().len(), 8);
        assert_eq!(answers.iter().count(), 1);
    }

    #[test]
    fn a_panic_of_the_store_ends_the_thread_and_is_told() {
        let (store, gate, _entered) = gated();
        let (replies, answers) = unbounded();
        let thread = StorageThread::start(Box::new(store), replies, 8, Box::new(|_| ())).expect("a thread");
        gate.send(Gate::Panic).expect("the store waits");
        thread.try_submit(save(0)).expect("there is room");
        assert!(answers.recv().is_err(), "the channel closes with the thread");
        let error = thread.try_submit(save(1)).expect_err("the thread has ended");
        assert_eq!(error, SubmitError::Stopped(save(1)));
        let message = thread.join().expect_err("it panicked").to_string();
        assert!(message.ends_with("the disk is on fire"), "{message}");
    }
}
