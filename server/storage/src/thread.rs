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
const LAST_REPLIES_WAIT: Duration = Duration::from_secs(1);

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
    /// without a reader are given up after a second.
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
