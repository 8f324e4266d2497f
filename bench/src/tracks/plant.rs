//! Faults planted into the decoding of tracks, for the harness's test of itself. Without one this is the SDK's decoder.

use crate::options::Plant;
use myriad_client::{Advanced, TrackState, TrackStore};
use myriad_wire::Tick;
use myriad_wire::codec::CodecError;
use myriad_wire::crowd::Applied;
use std::sync::Arc;

/// One in so many records is decoded wrongly.
const ONE_IN: u64 = 97;
/// What a record's first byte is that tells states and nothing else.
const ONLY_STATES: u8 = 4;

/// The fault planted, if any.
#[derive(Clone, Copy, Debug)]
pub(super) struct Planted {
    fault: Option<Plant>,
    records: u64,
}

impl Planted {
    pub(super) fn new(fault: Option<Plant>) -> Self {
        Self { fault, records: 0 }
    }

    /// The fault, if it is this record's turn.
    fn due(&mut self, delta: &[u8]) -> Option<Plant> {
        let fault = self.fault?;
        let is_fit = matches!(fault, Plant::Decoder | Plant::Skip) && delta.first() == Some(&ONLY_STATES);
        self.records += u64::from(is_fit);
        (is_fit && self.records.is_multiple_of(ONE_IN)).then_some(fault)
    }

    /// What `previous` becomes, on a copy.
    pub(super) fn apply(
        &mut self,
        previous: &TrackState,
        tick: Tick,
        delta: &[u8],
    ) -> Result<(TrackState, Applied), CodecError> {
        match self.due(delta) {
            Some(Plant::Skip) => return Ok((previous.clone(), Applied::default())),
            Some(Plant::Decoder) => {
                if let Some(wrong) = decoded_wrongly(previous, tick, delta) {
                    return Ok(wrong);
                }
            }
            Some(Plant::Double) | None => {}
        }
        let mut state = previous.clone();
        let applied = state.apply(tick, delta)?;
        Ok((state, applied))
    }

    /// The same in a store that may change states in place.
    pub(super) fn advance(
        &mut self,
        store: &mut impl TrackStore,
        previous: Arc<TrackState>,
        tick: Tick,
        delta: &[u8],
    ) -> Result<Advanced, CodecError> {
        let wrong = match self.due(delta) {
            Some(Plant::Skip) => Some(((*previous).clone(), Applied::default())),
            Some(Plant::Decoder) => decoded_wrongly(&previous, tick, delta),
            Some(Plant::Double) | None => None,
        };
        match wrong {
            Some((state, applied)) => Ok(Advanced {
                state: Arc::new(state),
                done: applied.into(),
            }),
            None => store.advance(previous, tick, delta),
        }
    }
}

/// What comes of the record with one bit turned over, if anything does.
fn decoded_wrongly(previous: &TrackState, tick: Tick, delta: &[u8]) -> Option<(TrackState, Applied)> {
    let mut bytes = delta.to_vec();
    for bit in 16..bytes.len() * 8 {
        let mask = 1 << (bit % 8);
        bytes[bit / 8] ^= mask;
        let mut state = previous.clone();
        if let Ok(applied) = state.apply(tick, &bytes) {
            return Some((state, applied));
        }
        bytes[bit / 8] ^= mask;
    }
    None
}
