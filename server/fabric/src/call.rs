//! Asking a service that some node offers, and waiting for the answer: a [`Caller`] asks, [`Service`] answers.
//!
//! ```text
//! call   = number:u64  request       numbers of one caller ascend
//! answer = number:u64  reply         little endian
//! ```
//! A caller has one call under way. What is not answered is sent again until its patience ends, under the same number,
//! and the service keeps each caller's last answer: so a call takes effect once at most, whatever the links lose or
//! repeat, and a call given up never takes effect after a later one.
//!
//! Not for a tick: both ends block.

use crate::{Fabric, FabricMessage};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use crossbeam_channel::{Receiver, bounded};
use myriad_wire::fabric::{Envelope, RoleId};
use myriad_wire::limits::NODE_MESSAGE_BYTES_MAX;
use myriad_wire::link::LinkHeader;
use myriad_wire::{CallerId, Incarnation};
use std::collections::HashMap;
use std::io;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use thiserror::Error;

/// Bytes of a call's or an answer's number.
const NUMBER_BYTES: usize = 8;
/// Largest request or reply, in bytes.
pub const CALL_BYTES_MAX: usize = NODE_MESSAGE_BYTES_MAX - NUMBER_BYTES;
/// How long a caller waits before it asks again; twice as long each time, up to the longest.
const REPEAT_AFTER: Duration = Duration::from_millis(250);
const REPEAT_AFTER_MAX: Duration = Duration::from_secs(2);
/// Answers that wait for a caller: its own, and repetitions of earlier ones.
const ANSWERS_MAX: usize = 16;
/// Calls that wait for a service; those beyond are dropped, and repeated by their callers.
const CALLS_MAX: usize = 4096;
/// Callers whose last answer a service keeps. The one that asked least recently is forgotten first.
const CALLERS_MAX: usize = 4096;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unanswered {
    /// No linked node offers the service, or its answer did not come. It may have taken effect.
    #[error("no answer from the {service} within {} s", patience.as_secs_f64())]
    Silence {
        /// Which.
        service: &'static str,
        /// How long it was waited.
        patience: Duration,
    },
    /// The request is too large. Nothing was sent.
    #[error("a request of {bytes} bytes exceeds the limit of {CALL_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
}

/// Asks a service.
#[derive(Debug)]
pub struct Caller {
    fabric: Fabric,
    id: RoleId,
    service: RoleId,
    answers: Receiver<FabricMessage>,
    /// Of the last call.
    number: u64,
    patience: Duration,
}

impl Caller {
    /// Somebody at a node in `incarnation` who asks `service`, and waits for `patience` for each answer.
    #[must_use]
    pub fn new(fabric: &Fabric, incarnation: Incarnation, service: RoleId, patience: Duration) -> Self {
        let id = RoleId::Caller(CallerId::new(incarnation, fabric.next_caller()));
        let (inbox, answers) = bounded(ANSWERS_MAX);
        fabric.register(id, inbox);
        Self {
            fabric: fabric.clone(),
            id,
            service,
            answers,
            number: 0,
            patience,
        }
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// If none comes in time.
    pub fn call(&mut self, request: &[u8]) -> Result<Bytes, Unanswered> {
        if request.len() > CALL_BYTES_MAX {
            return Err(Unanswered::TooLarge { bytes: request.len() });
        }
        self.number += 1;
        let body = numbered(self.number, request);
        let started = Instant::now();
        let mut pause = REPEAT_AFTER;
        loop {
            self.fabric.send(envelope(self.service, self.id), body.clone());
            let repeat_at = Instant::now() + pause;
            pause = (2 * pause).min(REPEAT_AFTER_MAX);
            while let Ok(answer) = self.answers.recv_deadline(repeat_at) {
                match split(answer.body) {
                    Some((number, reply)) if number == self.number => return Ok(reply),
                    _ => {} // To a call that was given up, or again.
                }
            }
            if started.elapsed() >= self.patience {
                return Err(Unanswered::Silence {
                    service: name(self.service),
                    patience: self.patience,
                });
            }
        }
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.fabric.unregister(self.id);
    }
}

/// A thread that answers calls. It ends when this is dropped, after what had come by then.
#[derive(Debug)]
pub struct Service {
    fabric: Fabric,
    role: RoleId,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    /// Offers `role` at this node: `answer` makes the reply to each request, one at a time, in the order of arrival.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(
        fabric: &Fabric,
        role: RoleId,
        mut answer: impl FnMut(&Bytes) -> Vec<u8> + Send + 'static,
    ) -> io::Result<Self> {
        let (inbox, calls) = bounded::<FabricMessage>(CALLS_MAX);
        fabric.register(role, inbox);
        let to = fabric.clone();
        let thread = std::thread::Builder::new()
            .name(name(role).to_owned())
            .spawn(move || {
                let mut last = LastAnswers::default();
                for call in calls {
                    let caller = call.envelope.from;
                    let Some((number, request)) = split(call.body) else {
                        continue; // A call has a number: what has none is nobody's.
                    };
                    if let Some(answer) = last.answer(caller, number, || answer(&request)) {
                        to.send(envelope(caller, role), answer);
                    }
                }
            })?;
        Ok(Self {
            fabric: fabric.clone(),
            role,
            thread: Some(thread),
        })
    }

    /// Whether the thread has ended, which it does by itself only by a panic.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.fabric.unregister(self.role);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Each caller's last call and its answer.
#[derive(Debug, Default)]
struct LastAnswers {
    by_caller: HashMap<RoleId, Last>,
    /// Counts calls.
    now: u64,
}

#[derive(Debug)]
struct Last {
    number: u64,
    answer: Bytes,
    /// When it was asked for.
    at: u64,
}

impl LastAnswers {
    /// The answer to a call, made by `make` unless it was made before; `None` if the call has been given up.
    fn answer(&mut self, caller: RoleId, number: u64, make: impl FnOnce() -> Vec<u8>) -> Option<Bytes> {
        self.now += 1;
        if let Some(last) = self.by_caller.get_mut(&caller)
            && number <= last.number
        {
            last.at = self.now;
            return (number == last.number).then(|| last.answer.clone());
        }
        if self.by_caller.len() >= CALLERS_MAX && !self.by_caller.contains_key(&caller) {
            let oldest = self.by_caller.iter().min_by_key(|(_, last)| last.at);
            let oldest = *oldest.expect("there are some").0;
            self.by_caller.remove(&oldest);
        }
        let answer = numbered(number, &make());
        let last = Last {
            number,
            answer: answer.clone(),
            at: self.now,
        };
        self.by_caller.insert(caller, last);
        Some(answer)
    }
}

fn numbered(number: u64, bytes: &[u8]) -> Bytes {
    let mut body = BytesMut::with_capacity(NUMBER_BYTES + bytes.len());
    body.put_u64_le(number);
    body.put_slice(bytes);
    body.freeze()
}

fn split(mut body: Bytes) -> Option<(u64, Bytes)> {
    let number = body.try_get_u64_le().ok()?;
    Some((number, body))
}

/// Calls need no link header: their numbers do what it is for.
fn envelope(to: RoleId, from: RoleId) -> Envelope {
    Envelope {
        to,
        from,
        link: LinkHeader {
            stream: 0,
            seq: 0,
            broken: None,
        },
    }
}

fn name(service: RoleId) -> &'static str {
    match service {
        RoleId::Directory => "directory",
        RoleId::Store => "store",
        RoleId::Lane(_) | RoleId::Gateway(_) | RoleId::Caller(_) => "service",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    const NODE: Incarnation = Incarnation(3);
    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn each_caller_is_answered_its_own() {
        let fabric = Fabric::new("a");
        let service = Service::start(&fabric, RoleId::Store, |request| request.to_ascii_uppercase()).unwrap();
        let mut callers = [(); 2].map(|()| Caller::new(&fabric, NODE, RoleId::Store, PATIENCE));
        for (caller, word) in callers.iter_mut().zip(["one", "two"]) {
            let reply = caller.call(word.as_bytes()).expect("an answer");
            assert_eq!(reply, word.to_uppercase());
        }
        drop(service);
        assert!(!fabric.is_reachable(RoleId::Store));
        let [caller, _] = callers;
        let id = caller.id;
        drop(caller);
        assert!(!fabric.is_reachable(id));
    }

    #[test]
    fn nobody_there_is_an_error_that_names_the_service() {
        let fabric = Fabric::new("a");
        let mut caller = Caller::new(&fabric, NODE, RoleId::Directory, Duration::ZERO);
        let error = caller.call(b"x").expect_err("nobody is there");
        assert!(
            error.to_string().contains("no answer from the directory"),
            "{error}"
        );
        assert!(matches!(
            caller.call(&vec![0; CALL_BYTES_MAX + 1]),
            Err(Unanswered::TooLarge { .. })
        ));
    }

    /// The service is the test: it sees each call, and may leave some unanswered.
    fn by_hand(fabric: &Fabric) -> Receiver<FabricMessage> {
        let (inbox, calls) = bounded(8);
        fabric.register(RoleId::Store, inbox);
        calls
    }

    #[test]
    fn what_is_lost_is_asked_again_under_its_number_and_old_answers_are_ignored() {
        let fabric = Fabric::new("a");
        let calls = by_hand(&fabric);
        let mut caller = Caller::new(&fabric, NODE, RoleId::Store, PATIENCE);
        let asking = std::thread::spawn(move || {
            let first = caller.call(b"x").expect("an answer");
            (first, caller.call(b"y").expect("an answer"))
        });
        let lost = calls.recv_timeout(PATIENCE).expect("a call");
        let again = calls.recv_timeout(PATIENCE).expect("the same again");
        assert_eq!(lost.body, again.body);
        let to = envelope(again.envelope.from, RoleId::Store);
        fabric.send(to, numbered(0, b"of another time"));
        fabric.send(to, Bytes::from_static(b"short"));
        fabric.send(to, numbered(1, b"first"));
        fabric.send(to, numbered(1, b"first"));
        let second = loop {
            let call = calls.recv_timeout(PATIENCE).expect("the second");
            if call.body != lost.body {
                break call;
            }
        };
        assert_eq!(second.body, numbered(2, b"y"));
        fabric.send(to, numbered(2, b"second"));
        let answers = asking.join().expect("no panic");
        assert_eq!(answers, (Bytes::from("first"), Bytes::from("second")));
    }

    #[test]
    fn a_call_takes_effect_once_and_never_after_a_later_one() {
        let fabric = Fabric::new("a");
        let count = Arc::new(AtomicU64::new(0));
        let counted = count.clone();
        let _service = Service::start(&fabric, RoleId::Store, move |_| {
            vec![counted.fetch_add(1, Ordering::Relaxed) as u8]
        });
        let (inbox, answers) = bounded(8);
        let caller = RoleId::Caller(CallerId::new(NODE, 77));
        fabric.register(caller, inbox);
        let send = |number| fabric.send(envelope(RoleId::Store, caller), numbered(number, b""));
        for number in [1, 1, 2, 1, 2, 3] {
            send(number);
        }
        fabric.send(envelope(RoleId::Store, caller), Bytes::from_static(b"short"));
        let expected = [(1, 0), (1, 0), (2, 1), (2, 1), (3, 2)];
        for (number, effect) in expected {
            let answer = answers.recv_timeout(PATIENCE).expect("an answer");
            assert_eq!(answer.body, numbered(number, &[effect]));
        }
        assert_eq!(count.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn so_many_callers_are_remembered_and_no_more() {
        let mut last = LastAnswers::default();
        let id = |n| RoleId::Caller(CallerId(n));
        for n in 0..=CALLERS_MAX as u64 {
            last.answer(id(n), 1, || vec![1]).expect("new");
        }
        assert_eq!(last.by_caller.len(), CALLERS_MAX);
        assert!(!last.by_caller.contains_key(&id(0)));
        let again = last.answer(id(1), 1, || unreachable!("it was answered"));
        assert_eq!(again, Some(numbered(1, &[1])));
    }
}
