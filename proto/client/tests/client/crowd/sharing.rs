//! A store that keeps everything, as a process of many clients would: states, steps and what happened.

use myriad_client::{Advanced, OwnTracks, SeenTracks, Step, TrackState, TrackStore};
use myriad_wire::Tick;
use myriad_wire::codec::CodecError;
use std::collections::HashMap;
use std::sync::Arc;

#[derive(Default)]
pub(crate) struct Sharing {
    begun: HashMap<(Tick, Vec<u8>), Arc<TrackState>>,
    advanced: HashMap<(usize, Tick, Vec<u8>), Advanced>,
    steps: Vec<(SeenTracks, Tick, Vec<u8>, Arc<Step>)>,
    tracks: Vec<SeenTracks>,
    /// Nothing that is a key by its address is let go.
    pinned: Vec<Arc<TrackState>>,
    pub(crate) recalled: usize,
}

impl TrackStore for Sharing {
    fn begin(&mut self, tick: Tick, keyframe: &[u8]) -> Result<Arc<TrackState>, CodecError> {
        let key = (tick, keyframe.to_vec());
        if let Some(state) = self.begun.get(&key) {
            return Ok(Arc::clone(state));
        }
        let state = OwnTracks.begin(tick, keyframe)?;
        self.begun.insert(key, Arc::clone(&state));
        Ok(state)
    }

    fn advance(
        &mut self,
        previous: Arc<TrackState>,
        tick: Tick,
        delta: &[u8],
    ) -> Result<Advanced, CodecError> {
        let key = (Arc::as_ptr(&previous) as usize, tick, delta.to_vec());
        if let Some(advanced) = self.advanced.get(&key) {
            return Ok(advanced.clone());
        }
        self.pinned.push(Arc::clone(&previous));
        let advanced = OwnTracks.advance(previous, tick, delta)?;
        self.advanced.insert(key, advanced.clone());
        Ok(advanced)
    }

    fn keeps_steps(&self) -> bool {
        true
    }

    fn recall(&mut self, tracks: &SeenTracks, tick: Tick, records: &[u8]) -> Option<Arc<Step>> {
        let is_it = |(before, at, bytes, _): &&(SeenTracks, Tick, Vec<u8>, Arc<Step>)| {
            Arc::ptr_eq(before.shared(), tracks.shared()) && *at == tick && bytes == records
        };
        let (.., step) = self.steps.iter().find(is_it)?;
        self.recalled += 1;
        Some(Arc::clone(step))
    }

    fn remember(&mut self, tracks: &SeenTracks, tick: Tick, records: &[u8], step: Step) {
        self.steps
            .push((tracks.clone(), tick, records.to_vec(), Arc::new(step)));
    }

    fn share(&mut self, tracks: SeenTracks) -> SeenTracks {
        if let Some(same) = self.tracks.iter().find(|other| other.is_same(&tracks)) {
            return same.clone();
        }
        self.tracks.push(tracks.clone());
        tracks
    }
}
