//! A directory that another node serves: both ends of its calls. The words are those of [`myriad_wire::directory`].

use crate::{ClusterView, Directory, DirectoryError, LayoutChange, NodeRecord};
use myriad_wire::directory::{DIRECTORY_BYTES_MAX, DirectoryReply, DirectoryRequest};
use myriad_wire::{Incarnation, LaneEpoch, LaneId, SpaceClock, SpaceId, Tick, codec};

/// Asks the serving node and answers its reply, or why there is none.
pub type Call = Box<dyn FnMut(&[u8]) -> Result<Vec<u8>, String> + Send>;

/// The answer of `directory` to a request of some [`RemoteDirectory`].
pub fn answer(directory: &mut dyn Directory, request: &[u8]) -> Vec<u8> {
    let reply = match codec::decode(request, DIRECTORY_BYTES_MAX) {
        Ok(request) => answer_to(directory, request).unwrap_or_else(|error| match error {
            DirectoryError::NotYet(why) => DirectoryReply::NotYet(why),
            other => DirectoryReply::Refused(other.to_string()),
        }),
        Err(error) => DirectoryReply::Refused(format!("the request is none: {error}")),
    };
    codec::encode(&reply)
}

fn answer_to(
    directory: &mut dyn Directory,
    request: DirectoryRequest,
) -> Result<DirectoryReply, DirectoryError> {
    use DirectoryRequest as Request;
    match request {
        Request::Announce(node) => directory.announce(&node)?,
        Request::Withdraw(incarnation) => directory.withdraw(incarnation)?,
        Request::Change(change) => directory.change(&change)?,
        Request::Claim { lane, incarnation } => {
            return Ok(DirectoryReply::Claimed(directory.claim_lane(lane, incarnation)?));
        }
        Request::View { known } => return Ok(DirectoryReply::View(directory.view(known)?)),
        Request::Clock {
            space,
            hz,
            now_us,
            incarnation,
        } => {
            let clock = directory.space_clock(space, hz, now_us, incarnation)?;
            return Ok(DirectoryReply::Clock(clock));
        }
        Request::Note {
            space,
            tick,
            incarnation,
        } => directory.note_tick(space, tick, incarnation)?,
        Request::Close {
            space,
            tick,
            incarnation,
        } => directory.close_space(space, tick, incarnation)?,
    }
    Ok(DirectoryReply::Done)
}

/// A directory at another node.
pub struct RemoteDirectory {
    call: Call,
}

impl RemoteDirectory {
    /// The directory that `call` asks.
    #[must_use]
    pub fn new(call: Call) -> Self {
        Self { call }
    }

    fn ask(&mut self, request: &DirectoryRequest) -> Result<DirectoryReply, DirectoryError> {
        let reply = (self.call)(&codec::encode(request)).map_err(DirectoryError::Unreachable)?;
        match codec::decode(&reply, DIRECTORY_BYTES_MAX) {
            Ok(DirectoryReply::NotYet(why)) => Err(DirectoryError::NotYet(why)),
            Ok(DirectoryReply::Refused(why)) => Err(DirectoryError::Refused(why)),
            Ok(reply) => Ok(reply),
            Err(error) => Err(DirectoryError::Unreachable(format!(
                "its answer is none: {error}"
            ))),
        }
    }

    fn ask_done(&mut self, request: &DirectoryRequest) -> Result<(), DirectoryError> {
        match self.ask(request)? {
            DirectoryReply::Done => Ok(()),
            other => misplaced(&other),
        }
    }
}

impl std::fmt::Debug for RemoteDirectory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteDirectory").finish_non_exhaustive()
    }
}

fn misplaced<T>(reply: &DirectoryReply) -> Result<T, DirectoryError> {
    let why = format!("it answered another question: {reply:?}");
    Err(DirectoryError::Unreachable(why))
}

impl Directory for RemoteDirectory {
    fn announce(&mut self, node: &NodeRecord) -> Result<(), DirectoryError> {
        self.ask_done(&DirectoryRequest::Announce(node.clone()))
    }

    fn withdraw(&mut self, incarnation: Incarnation) -> Result<(), DirectoryError> {
        self.ask_done(&DirectoryRequest::Withdraw(incarnation))
    }

    fn change(&mut self, change: &LayoutChange) -> Result<(), DirectoryError> {
        self.ask_done(&DirectoryRequest::Change(change.clone()))
    }

    fn claim_lane(&mut self, lane: LaneId, incarnation: Incarnation) -> Result<LaneEpoch, DirectoryError> {
        match self.ask(&DirectoryRequest::Claim { lane, incarnation })? {
            DirectoryReply::Claimed(epoch) => Ok(epoch),
            other => misplaced(&other),
        }
    }

    fn view(&mut self, known: u64) -> Result<Option<ClusterView>, DirectoryError> {
        match self.ask(&DirectoryRequest::View { known })? {
            DirectoryReply::View(view) => Ok(view),
            other => misplaced(&other),
        }
    }

    fn space_clock(
        &mut self,
        space: SpaceId,
        hz: f64,
        now_us: u64,
        incarnation: Incarnation,
    ) -> Result<SpaceClock, DirectoryError> {
        let request = DirectoryRequest::Clock {
            space,
            hz,
            now_us,
            incarnation,
        };
        match self.ask(&request)? {
            DirectoryReply::Clock(clock) => Ok(clock),
            other => misplaced(&other),
        }
    }

    fn note_tick(
        &mut self,
        space: SpaceId,
        tick: Tick,
        incarnation: Incarnation,
    ) -> Result<(), DirectoryError> {
        self.ask_done(&DirectoryRequest::Note {
            space,
            tick,
            incarnation,
        })
    }

    fn close_space(
        &mut self,
        space: SpaceId,
        tick: Tick,
        incarnation: Incarnation,
    ) -> Result<(), DirectoryError> {
        self.ask_done(&DirectoryRequest::Close {
            space,
            tick,
            incarnation,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LocalDirectory;
    use myriad_storage::MemoryStorage;

    #[test]
    fn silence_nonsense_and_the_wrong_answer_are_errors() {
        type Reply = Result<Vec<u8>, String>;
        let replies: [(Reply, &str, bool); 5] = [
            (Err("no answer".into()), "no answer", true),
            (Ok(vec![255; 3]), "its answer is none", true),
            (
                Ok(codec::encode(&DirectoryReply::View(None))),
                "another question",
                true,
            ),
            (
                Ok(codec::encode(&DirectoryReply::NotYet("soon".into()))),
                "soon",
                true,
            ),
            (
                Ok(codec::encode(&DirectoryReply::Refused("no".into()))),
                "no",
                false,
            ),
        ];
        for (reply, expected, passing) in replies {
            let mut directory = RemoteDirectory::new(Box::new(move |_| reply.clone()));
            let error = directory.withdraw(Incarnation(1)).expect_err("no answer");
            assert!(error.to_string().contains(expected), "{error}");
            assert_eq!(error.is_passing(), passing, "{error}");
        }
    }

    #[test]
    fn nonsense_is_answered() {
        let mut directory = LocalDirectory::new(MemoryStorage::new(), Vec::new());
        for bytes in [&[][..], &[255], &[0, 1, 2]] {
            let reply = answer(&mut directory, bytes);
            let reply = codec::decode(&reply, DIRECTORY_BYTES_MAX).expect("an answer");
            assert!(matches!(reply, DirectoryReply::Refused(_)), "{reply:?}");
        }
    }
}
