//! One bot without its connection: what it does each tick, and what it makes of what the SDK tells.
//!
//! [`crate::session`] owns the connection, [`crate::worker`] the time. Calls: [`Bot::take_events`] whenever something
//! came; once a tick [`Bot::walk`], then [`Bot::check`]; at the end [`Bot::finish`].

use crate::motion::{Ground, Walker};
use crate::obedience::Obedience;
use crate::options::{BotsOptions, Plant};
use crate::sample::{Coverage, CoverageCounts, Moment, Rates, Sampler, Tally, add_bytes, bytes_since};
use crate::tracks::{OwnCopies, Store, Tracks};
use crate::truth::{Row, Truth};
use crate::view::{Sight, Telling, ToldEdge, Tolerance, ViewCheck, ViewCounts};
use bytes::Bytes;
use myriad_client::{ByteCounters, Client, ClientEvent, Mask, TrackState};
use myriad_wire::client::Joined;
use myriad_wire::{EntityId, IntentSeq, Pos, SpaceClock, Tick, Value};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg32;
use std::sync::Arc;

/// Seconds between two changes of a bot's mood.
const MOOD_PERIOD_S: f64 = 5.0;
/// Mean seconds between two waves, and between two things said.
const WAVE_PERIOD_S: f64 = 20.0;
const SAY_PERIOD_S: f64 = 30.0;
/// Moods are numbers below this: the plaza's scripts know no others.
const MOODS: i64 = 8;
/// Reasons for refusals that are told apart.
const REFUSALS_MAX: usize = 8;
/// A client that comes in the middle of a run is measured from when it held all of its view, or has had so long.
const JOIN_ALLOWANCE_US: u64 = 20_000_000;
/// With [`Plant::Double`] one in so many enters is told twice.
const DOUBLE_ONE_IN: u64 = 97;

/// One bot, from its join on.
#[derive(Debug)]
pub(crate) struct Bot {
    index: u32,
    /// Of what was said at its join, what is still of interest.
    entity: EntityId,
    clock: SpaceClock,
    start_position: Pos,
    start_seq: IntentSeq,
    sight: Sight,
    crowd_period: u32,
    /// The own avatar, once the truth knows it.
    row: Option<Row>,
    has_truth: bool,
    walker: Walker,
    rng: Pcg32,
    hz: f64,
    ticks: u64,
    mood_period_ticks: u64,
    /// Where the steps so far lead.
    position: Pos,
    newest: IntentSeq,
    /// The tick of the first view.
    start: Option<Tick>,
    view: ViewCheck,
    obedience: Option<Obedience>,
    sampler: Sampler,
    coverage: Coverage,
    bytes_shown: ByteCounters,
    /// While it decodes on its own beside the interner.
    copies: Option<Box<OwnCopies>>,
    plant: Option<Plant>,
    /// It has held all of its view, fresh.
    covered: bool,
    joined_us: u64,
    /// Ticks that passed until it had joined, if it came to replace another client.
    join_ticks: Option<f64>,
    mood: i64,
    /// Why commands were refused, each with how often: the first few reasons.
    pub(crate) refusals: Vec<(String, u32)>,
    pub(crate) counts: BotCounts,
}

/// What one bot counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct BotCounts {
    pub(crate) entered: u64,
    pub(crate) left: u64,
    pub(crate) events: u64,
    pub(crate) corrections: u64,
    pub(crate) commands_refused: u64,
    pub(crate) intents_sent: u64,
    pub(crate) intents_lost: u64,
    pub(crate) intents_skipped: u64,
    pub(crate) inconsistent: u64,
    /// The truth of the client's first view was not there to compare with.
    pub(crate) unchecked: u64,
    pub(crate) obedience_checked: u64,
    pub(crate) disobeyed: u64,
    pub(crate) in_view_max: u32,
    pub(crate) view: ViewCounts,
    pub(crate) coverage: Option<CoverageCounts>,
}

impl Bot {
    /// Bot `index`, whose session has just joined.
    pub(crate) fn new(index: u32, options: &BotsOptions, joined: &Joined) -> Self {
        let hz = options.hz.unwrap_or_else(|| joined.clock.hz());
        let ground = Ground {
            min: joined.rules.bounds_min,
            max: joined.rules.bounds_max,
            speed_max: joined.rules.speed_max,
            hz,
        };
        let mood_period_ticks = ((MOOD_PERIOD_S * hz).round() as u64).max(1);
        Self {
            index,
            entity: joined.entity,
            clock: joined.clock,
            start_position: joined.position,
            start_seq: joined.intent_seq,
            sight: Sight {
                radius: joined.rules.radius_aoi,
                sees: options.sees,
            },
            crowd_period: joined.rules.crowd_period,
            row: None,
            has_truth: !options.truth.is_empty(),
            walker: Walker::new(options.motion, index, options.seed, ground),
            rng: Pcg32::seed_from_u64(!options.seed ^ u64::from(index)),
            hz,
            // Spread over the period, so that not everybody's mood changes in the same tick.
            ticks: u64::from(index) % mood_period_ticks,
            mood_period_ticks,
            position: joined.position,
            newest: joined.intent_seq,
            start: None,
            view: ViewCheck::new(Tolerance::new(joined.clock.hz(), joined.rules.crowd_period)),
            obedience: None,
            // Other clients look at other subjects at the same time.
            sampler: Sampler::new(Rates::of(options.clients), index as usize),
            coverage: Coverage::default(),
            bytes_shown: ByteCounters::default(),
            copies: None,
            plant: options.plant,
            covered: false,
            joined_us: 0,
            join_ticks: None,
            mood: 0,
            refusals: Vec::new(),
            counts: BotCounts::default(),
        }
    }

    /// A datagram arrived. Near states are decoded in the worker's store.
    pub(crate) fn take_datagram(
        &mut self,
        client: &mut Client,
        datagram: Bytes,
        now_us: u64,
        tracks: &mut Tracks,
    ) {
        self.draw_copies(tracks);
        let copies = self.copies.as_deref_mut();
        client.handle_datagram_with(datagram, now_us, &mut Store { tracks, copies });
    }

    /// Whether it decodes on its own now.
    fn draw_copies(&mut self, tracks: &Tracks) {
        let stint = tracks.stint(self.index);
        if stint != self.copies.as_ref().map(|copies| copies.stint) {
            self.copies = stint.map(|stint| Box::new(OwnCopies::new(stint)));
        }
    }

    /// It came to replace another client, which took so long.
    pub(crate) fn set_replacement(&mut self, joined_s: f64) {
        self.join_ticks = Some(joined_s * self.hz);
    }

    /// Takes all events that the SDK has. Tracks are decoded as they are told, in the worker's store.
    pub(crate) fn take_events(&mut self, client: &mut Client, tracks: &mut Tracks) {
        self.draw_copies(tracks);
        loop {
            let copies = self.copies.as_deref_mut();
            let Some(event) = client.poll_event_with(&mut Store { tracks, copies }) else {
                return;
            };
            self.handle_event(&event, client);
        }
    }

    fn handle_event(&mut self, event: &ClientEvent, client: &Client) {
        match *event {
            ClientEvent::Enter {
                tick,
                subject,
                entity,
                ..
            } => {
                self.start.get_or_insert(tick);
                let edge = ToldEdge {
                    tick,
                    subject,
                    entity,
                    enter: true,
                };
                self.counts.entered += 1;
                self.handle_edge(edge);
                if self.plant == Some(Plant::Double) && self.counts.entered.is_multiple_of(DOUBLE_ONE_IN) {
                    self.handle_edge(edge);
                }
            }
            ClientEvent::EnterTogether {
                tick,
                ref track,
                places,
                ..
            } => self.handle_enters(tick, track, places),
            ClientEvent::Leave {
                tick,
                subject,
                entity,
                ..
            } => {
                self.counts.left += 1;
                self.handle_edge(ToldEdge {
                    tick,
                    subject,
                    entity,
                    enter: false,
                });
            }
            ClientEvent::Event { .. } | ClientEvent::EventOf { .. } => self.counts.events += 1,
            ClientEvent::CommandResult {
                refused: Some(ref why),
                ..
            } => self.handle_refusal(why),
            ClientEvent::Corrected { .. } => self.handle_correction(client),
            _ => {}
        }
    }

    fn handle_enters(&mut self, tick: Tick, track: &Arc<TrackState>, places: Mask) {
        self.start.get_or_insert(tick);
        let before = self.counts.entered;
        self.counts.entered += places.len() as u64;
        if !self.has_truth {
            return;
        }
        self.view.handle_told_together(tick, track, places);
        let is_due = self.counts.entered / DOUBLE_ONE_IN > before / DOUBLE_ONE_IN;
        if self.plant == Some(Plant::Double)
            && is_due
            && let Some(place) = places.iter().next()
        {
            self.view.handle_told_together(tick, track, Mask::of(place));
        }
    }

    fn handle_edge(&mut self, edge: ToldEdge) {
        if self.has_truth {
            self.view.handle_told(edge);
        }
    }

    fn handle_correction(&mut self, client: &Client) {
        self.counts.corrections += 1;
        self.position = client.own_position().unwrap_or(self.position);
        if let Some(obedience) = &mut self.obedience {
            obedience.stop();
        }
    }

    /// One tick of the player: a step, and now and then a command.
    pub(crate) fn walk(&mut self, client: &mut Client) {
        let step = self.walker.step(self.position);
        if let Ok(seq) = client.step(step.dx, step.dz) {
            self.newest = seq;
            self.position.x += step.dx;
            self.position.z += step.dz;
            self.counts.intents_sent += 1;
            if let Some(obedience) = &mut self.obedience {
                obedience.handle_step(self.position);
            }
        }
        self.ticks += 1;
        if self.ticks.is_multiple_of(self.mood_period_ticks) {
            // Always another one: a mood that stays changes nothing.
            self.mood = (self.mood + self.rng.random_range(1..MOODS)) % MOODS;
            self.command(client, "mood", vec![Value::Int(self.mood)]);
        }
        if self.rng.random_bool((1.0 / (WAVE_PERIOD_S * self.hz)).min(1.0)) {
            self.command(client, "wave", Vec::new());
        }
        if self.rng.random_bool((1.0 / (SAY_PERIOD_S * self.hz)).min(1.0)) {
            let text = format!("hello from {} at tick {}", self.index, self.ticks);
            self.command(client, "say", vec![Value::Text(text)]);
        }
    }

    fn command(&mut self, client: &mut Client, name: &str, arguments: Vec<Value>) {
        if let Err(error) = client.command(name, arguments) {
            self.handle_refusal(&error.to_string());
        }
    }

    fn handle_refusal(&mut self, why: &str) {
        self.counts.commands_refused += 1;
        if let Some((_, count)) = self.refusals.iter_mut().find(|(reason, _)| reason == why) {
            *count += 1;
        } else if self.refusals.len() < REFUSALS_MAX {
            self.refusals.push((why.to_owned(), 1));
        }
    }

    /// One tick of the referee: compares what the client holds with the truth. `end` is the last tick whose view
    /// is compared.
    #[expect(
        clippy::too_many_arguments,
        reason = "the client, the moment, and where it is entered"
    )]
    pub(crate) fn check(
        &mut self,
        client: &Client,
        now_us: u64,
        truth: &Truth,
        measuring: bool,
        end: Option<Tick>,
        tracks: &mut Tracks,
        tally: &mut Tally,
    ) {
        let join_ticks = self.join_ticks.filter(|_| self.joined_us == 0);
        if self.joined_us == 0 {
            self.joined_us = now_us;
        }
        self.begin(truth);
        // Who comes while others are measured is given the time that they had.
        let is_in = self.covered || now_us - self.joined_us >= JOIN_ALLOWANCE_US;
        if measuring && !is_in && self.join_ticks.is_some() {
            tally.client_ticks_joining += 1.0 + join_ticks.unwrap_or(0.0);
        }
        let measuring = measuring && is_in;
        if let Some(newest) = truth.newest().filter(|_| measuring) {
            self.view.measure_from(newest.tick);
        }
        if let Some(end) = end {
            self.view.end_with(end);
        }
        self.view.advance(truth, self.telling(client));
        if let Some(obedience) = &mut self.obedience {
            obedience.advance(truth);
        }
        let in_view = client.view().len() as u64;
        self.counts.in_view_max = self.counts.in_view_max.max(in_view as u32);
        if in_view != self.counts.entered.wrapping_sub(self.counts.left) {
            self.counts.inconsistent += 1;
        }
        let moment = Moment {
            client,
            edges: self.counts.entered + self.counts.left,
            clock: truth.clock().unwrap_or(&self.clock),
            now_us,
            truth,
            check: &self.view,
            own: self.row,
        };
        // While it takes in its first view nothing of it is measured, and looking for whom it lacks costs the most then.
        let is_complete = self.covered || !self.has_truth || self.view.is_complete(truth);
        let is_fresh = (measuring || is_complete)
            && self
                .sampler
                .sample(&moment, measuring, tracks, &mut self.coverage, tally);
        self.covered |= is_fresh && is_complete;
        let bytes = client.counters().bytes;
        let before = std::mem::replace(&mut self.bytes_shown, bytes);
        add_bytes(&mut tally.live.bytes, &bytes_since(&bytes, &before));
    }

    /// All that the client was told of a tick it was told at once, so what it has heard of is told; but a track tells
    /// nothing for a period, and states come beside the stream.
    fn telling(&self, client: &Client) -> Telling {
        let seen = client.seen_tick().unwrap_or_default();
        Telling {
            is_crowd: client.view().is_crowd(),
            through: client.told_tick().max(seen - u64::from(self.crowd_period) - 2),
        }
    }

    /// Whether it has held all of its true view at one time, none of it stale.
    pub(crate) fn is_covered(&self) -> bool {
        self.covered
    }

    /// Starts the comparisons once the truth knows the avatar and the client has its first view.
    fn begin(&mut self, truth: &Truth) {
        if self.view.is_started() {
            return;
        }
        let (Some(start), Some(row), Some(oldest)) = (self.start, truth.row(self.entity), truth.oldest())
        else {
            return;
        };
        if oldest.tick > start {
            self.counts.unchecked = 1;
        }
        self.row = Some(row);
        self.view.start(start, row, self.sight);
    }

    /// The bot starts to walk: from here on its avatar must obey.
    pub(crate) fn begin_walk(&mut self, truth: &Truth) -> bool {
        let Some(start) = self.start else { return false };
        if !self.has_truth {
            return true;
        }
        let Some(row) = truth.row(self.entity) else {
            return false;
        };
        let obedience = Obedience::new(row, start, self.start_seq, self.start_position);
        self.obedience = Some(obedience);
        true
    }

    /// Whether all that was sent has been applied, and all ticks up to `end` have arrived.
    pub(crate) fn is_settled(&self, client: &Client, truth: &Truth, end: Option<Tick>) -> bool {
        let applied = client
            .own_authoritative()
            .is_some_and(|(seq, _)| seq == self.newest);
        let seen = |end| {
            client.seen_tick().is_some_and(|seen| seen > end)
                && truth.newest().is_some_and(|newest| newest.tick > end)
        };
        applied && end.is_none_or(seen)
    }

    /// The last comparison, of everything, and all counts. `early`: the run goes on, and what the client did last is
    /// still under way.
    pub(crate) fn finish(
        mut self,
        client: &Client,
        now_us: u64,
        truth: &Truth,
        early: bool,
        tally: &mut Tally,
    ) -> BotCounts {
        if client.closed().is_none() && !early {
            let moment = Moment {
                client,
                edges: self.counts.entered + self.counts.left,
                clock: truth.clock().unwrap_or(&self.clock),
                now_us,
                truth,
                check: &self.view,
                own: self.row,
            };
            self.sampler.compare_properties(&moment, 0, 1, tally);
        }
        let mut counts = self.counts;
        let applied = client.own_authoritative().map_or(IntentSeq(0), |(seq, _)| seq);
        if !early {
            counts.intents_lost = u64::from(self.newest.0.saturating_sub(applied.0));
        }
        if let Some(obedience) = &self.obedience {
            counts.obedience_checked = obedience.checked;
            counts.disobeyed = obedience.disobeyed;
        }
        if self.has_truth && !self.view.is_started() {
            counts.unchecked = 1;
        }
        if self.has_truth {
            counts.coverage = self.coverage.finish();
        }
        counts.view = self.view.finish(truth, early);
        counts
    }
}

#[cfg(test)]
mod crowd_tests;
#[cfg(test)]
mod tests;
