//! One bot without its connection: what it does each tick, and what it makes of what the SDK tells.
//!
//! [`crate::run`] owns the connection and the time. Calls: [`Bot::handle_event`] for every event of the SDK in
//! order; once a tick [`Bot::walk`], then [`Bot::check`]; at the end [`Bot::finish`].

use crate::motion::{Ground, Walker};
use crate::obedience::Obedience;
use crate::options::BotsOptions;
use crate::sample::{Coverage, CoverageCounts, Moment, Rates, Sampler, Tally};
use crate::truth::Truth;
use crate::view::{Sight, ToldEdge, ViewCheck, ViewCounts};
use myriad_client::{Client, ClientEvent};
use myriad_wire::client::Joined;
use myriad_wire::{IntentSeq, Pos, Tick, Value};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg32;

/// Seconds between two changes of a bot's mood.
const MOOD_PERIOD_S: f64 = 5.0;
/// Mean seconds between two waves, and between two things said.
const WAVE_PERIOD_S: f64 = 20.0;
const SAY_PERIOD_S: f64 = 30.0;
/// Moods are numbers below this: the plaza's scripts know no others.
const MOODS: i64 = 8;
/// Reasons for refusals that are told apart.
const REFUSALS_MAX: usize = 8;

/// One bot, from its join on.
#[derive(Debug)]
pub(crate) struct Bot {
    index: u32,
    joined: Joined,
    sees: u32,
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
    bytes_shown: u64,
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
            sees: options.sees,
            has_truth: options.truth.is_some(),
            walker: Walker::new(options.motion, index, options.seed, ground),
            rng: Pcg32::seed_from_u64(!options.seed ^ u64::from(index)),
            hz,
            // Spread over the period, so that not everybody's mood changes in the same tick.
            ticks: u64::from(index) % mood_period_ticks,
            mood_period_ticks,
            position: joined.position,
            newest: joined.intent_seq,
            start: None,
            view: ViewCheck::default(),
            obedience: None,
            sampler: Sampler::new(Rates::of(options.clients)),
            coverage: Coverage::default(),
            bytes_shown: 0,
            mood: 0,
            refusals: Vec::new(),
            counts: BotCounts::default(),
            joined: joined.clone(),
        }
    }

    /// Takes all events that the SDK has. Returns `false` once the session is over.
    pub(crate) fn take_events(&mut self, client: &mut Client) -> bool {
        while let Some(event) = client.poll_event() {
            if matches!(event, ClientEvent::Closed(_)) {
                return false;
            }
            self.handle_event(&event, client);
        }
        true
    }

    fn handle_event(&mut self, event: &ClientEvent, client: &Client) {
        match *event {
            ClientEvent::Enter { tick, entity, .. } => {
                self.counts.entered += 1;
                self.start.get_or_insert(tick);
                self.handle_edge(ToldEdge {
                    tick,
                    entity,
                    enter: true,
                });
            }
            ClientEvent::Leave { tick, entity, .. } => {
                self.counts.left += 1;
                self.handle_edge(ToldEdge {
                    tick,
                    entity,
                    enter: false,
                });
            }
            ClientEvent::Event { .. } => self.counts.events += 1,
            ClientEvent::CommandResult { ref refused, .. } => {
                if let Some(why) = refused {
                    self.handle_refusal(why);
                }
            }
            ClientEvent::Corrected { .. } => self.handle_correction(client),
            ClientEvent::Joined
            | ClientEvent::Change { .. }
            | ClientEvent::Owner { .. }
            | ClientEvent::Closed(_) => {}
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
    pub(crate) fn check(
        &mut self,
        client: &Client,
        now_us: u64,
        truth: &Truth,
        measuring: bool,
        end: Option<Tick>,
        tally: &mut Tally,
    ) {
        self.begin(truth);
        if let Some(newest) = truth.newest().filter(|_| measuring) {
            self.view.measure_from(newest.tick);
        }
        if let Some(end) = end {
            self.view.end_with(end);
        }
        self.view.advance(truth);
        if let Some(obedience) = &mut self.obedience {
            obedience.advance(truth);
        }
        let in_view = client.view().len() as u64;
        self.counts.in_view_max = self.counts.in_view_max.max(in_view as u32);
        if in_view != self.counts.entered.wrapping_sub(self.counts.left) {
            self.counts.inconsistent += 1;
        }
        let moment = moment(&self.counts, &self.joined, &self.view, client, now_us, truth);
        self.sampler.sample(&moment, measuring, &mut self.coverage, tally);
        let bytes = client.counters().bytes.total();
        tally.live_bytes += bytes - std::mem::replace(&mut self.bytes_shown, bytes);
    }

    /// Starts the comparisons once the truth knows the avatar and the client has its first view.
    fn begin(&mut self, truth: &Truth) {
        let (Some(start), Some(row), Some(oldest)) =
            (self.start, truth.row(self.joined.entity), truth.oldest())
        else {
            return;
        };
        if self.view.is_started() {
            return;
        }
        if oldest.tick > start {
            self.counts.unchecked = 1;
        }
        let sight = Sight {
            radius: self.joined.rules.radius_aoi,
            sees: self.sees,
        };
        self.view.start(start, row, sight);
    }

    /// The bot starts to walk: from here on its avatar must obey.
    pub(crate) fn begin_walk(&mut self, truth: &Truth) -> bool {
        let Some(start) = self.start else { return false };
        if !self.has_truth {
            return true;
        }
        let Some(row) = truth.row(self.joined.entity) else {
            return false;
        };
        let obedience = Obedience::new(row, start, self.joined.intent_seq, self.joined.position);
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

    /// The last comparison, of everything, and all counts.
    pub(crate) fn finish(
        mut self,
        client: &Client,
        now_us: u64,
        truth: &Truth,
        tally: &mut Tally,
    ) -> BotCounts {
        if client.closed().is_none() {
            let moment = moment(&self.counts, &self.joined, &self.view, client, now_us, truth);
            self.sampler.compare_properties(&moment, 0, 1, tally);
        }
        let mut counts = self.counts;
        let applied = client.own_authoritative().map_or(IntentSeq(0), |(seq, _)| seq);
        counts.intents_lost = u64::from(self.newest.0.saturating_sub(applied.0));
        if let Some(obedience) = &self.obedience {
            counts.obedience_checked = obedience.checked;
            counts.disobeyed = obedience.disobeyed;
        }
        if self.has_truth && !self.view.is_started() {
            counts.unchecked = 1;
        }
        counts.view = self.view.finish();
        if self.has_truth {
            counts.coverage = self.coverage.finish();
        }
        counts
    }
}

fn moment<'a>(
    counts: &BotCounts,
    joined: &'a Joined,
    view: &'a ViewCheck,
    client: &'a Client,
    now_us: u64,
    truth: &'a Truth,
) -> Moment<'a> {
    Moment {
        client,
        edges: counts.entered + counts.left,
        clock: truth.clock().unwrap_or(&joined.clock),
        now_us,
        truth,
        true_view: &view.truth,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Trust;
    use crate::stage::{self, MOOD, Stage};
    use myriad_client::quic::Fingerprint;
    use myriad_wire::client::{Leave, LeaveReason, ServerMessage, ViewUpdate};
    use myriad_wire::track::Level;
    use std::net::{Ipv4Addr, SocketAddr};

    /// Ten entities stand in a row, a metre apart.
    const STANDING: [(f64, f64); 10] = [
        (0.0, 0.0),
        (1.0, 0.0),
        (2.0, 0.0),
        (3.0, 0.0),
        (4.0, 0.0),
        (5.0, 0.0),
        (6.0, 0.0),
        (7.0, 0.0),
        (8.0, 0.0),
        (9.0, 0.0),
    ];

    struct Run {
        stage: Stage,
        bot: Bot,
        tally: Tally,
    }

    impl Run {
        fn new() -> Self {
            let mut options = BotsOptions::new(
                SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
                Trust::Fingerprint(Fingerprint([0; 32])),
            );
            options.truth = Some(crate::TruthSource {
                url: String::new(),
                token: None,
            });
            let mut stage = Stage::new(&STANDING);
            let joined = stage.client.joined().expect("it has joined").clone();
            let mut bot = Bot::new(0, &options, &joined);
            assert!(bot.take_events(&mut stage.client));
            assert!(bot.begin_walk(&stage.truth));
            Self {
                stage,
                bot,
                tally: Tally::default(),
            }
        }

        fn check(&mut self) {
            assert!(self.bot.take_events(&mut self.stage.client));
            let now_us = self.stage.now_us();
            let (client, truth) = (&self.stage.client, &self.stage.truth);
            self.bot.check(client, now_us, truth, true, None, &mut self.tally);
        }

        /// A tick of an honest server, the avatar `off` metres from where its client took it.
        fn tick(&mut self, off: f64) {
            self.bot.walk(&mut self.stage.client);
            self.stage.take_intents();
            let own = self.bot.position.to_metres();
            let mut metres = STANDING;
            metres[0] = (own.x + off, own.z);
            self.stage.honest_tick(&metres, Level::NEAR);
            self.check();
        }

        fn finish(mut self) -> (BotCounts, Tally) {
            let now_us = self.stage.now_us();
            let (client, truth) = (&self.stage.client, &self.stage.truth);
            let counts = self.bot.finish(client, now_us, truth, &mut self.tally);
            (counts, self.tally)
        }
    }

    #[test]
    fn with_an_honest_server_nothing_is_found_wrong() {
        let mut run = Run::new();
        (0..50).for_each(|_| run.tick(0.0));
        let (counts, tally) = run.finish();
        assert_eq!(counts.view, ViewCounts::default());
        assert_eq!(
            (counts.entered, counts.inconsistent, counts.unchecked),
            (10, 0, 0)
        );
        assert_eq!(
            (counts.corrections, counts.intents_sent, counts.intents_lost),
            (0, 50, 0)
        );
        assert_eq!((counts.obedience_checked, counts.disobeyed), (51, 0));
        assert_eq!(counts.coverage.expect("measured").min, 1.0);
        assert_eq!((tally.client_ticks, tally.pairs), (50, 500));
        assert_eq!(tally.properties_wrong, 0);
        assert!(tally.properties > 0);
    }

    #[test]
    fn an_avatar_beside_its_way_is_disobedience_and_a_correction() {
        let mut run = Run::new();
        (0..5).for_each(|_| run.tick(0.0));
        run.tick(0.5);
        let (counts, _) = run.finish();
        assert_eq!(
            (counts.disobeyed, counts.corrections),
            (0, 1),
            "the own record is read first"
        );

        let mut run = Run::new();
        run.bot.walk(&mut run.stage.client);
        run.stage.take_intents();
        // The truth is elsewhere while the client is told what it expects.
        let mut metres = STANDING;
        metres[0].0 += 3.0;
        let told = run.stage.next_tick(&metres);
        run.stage.tell_truth(&told);
        run.check();
        assert_eq!(run.finish().0.disobeyed, 1);
    }

    #[test]
    fn intents_never_applied_are_lost() {
        let mut run = Run::new();
        (0..5).for_each(|_| run.tick(0.0));
        (0..3).for_each(|_| run.bot.walk(&mut run.stage.client));
        assert!(!run.bot.is_settled(&run.stage.client, &run.stage.truth, None));
        assert_eq!(run.finish().0.intents_lost, 3);
    }

    #[test]
    fn a_leave_that_is_not_true_is_found() {
        let mut run = Run::new();
        (0..5).for_each(|_| run.tick(0.0));
        run.stage.send_view(ViewUpdate {
            leaves: vec![Leave {
                subject: stage::subject(7),
                reason: LeaveReason::OutOfView,
            }],
            ..ViewUpdate::default()
        });
        (0..5).for_each(|_| run.tick(0.0));
        let (counts, _) = run.finish();
        assert_eq!(
            (counts.left, counts.view.edges_extra, counts.view.missing),
            (1, 1, 1)
        );
    }

    #[test]
    fn a_mood_that_is_not_true_any_more_is_wrong_after_three_seconds() {
        let mut run = Run::new();
        run.tick(0.0);
        let mut told = run.stage.next_tick(&STANDING);
        told.changes = vec![(stage::entity(4), vec![(MOOD, Value::Int(7))])];
        run.stage.tell_truth(&told);
        // The client is never told of it.
        (0..29).for_each(|_| run.tick(0.0));
        assert_eq!(run.tally.properties_wrong, 0);
        run.tick(0.0);
        run.tick(0.0);
        assert_eq!(run.finish().1.properties_wrong, 1);
    }

    #[test]
    fn a_mood_that_is_news_to_the_truth_is_not_judged() {
        let mut run = Run::new();
        (0..40).for_each(|_| run.tick(0.0));
        let compared = run.tally.properties;
        let _untold = run.stage.next_tick(&STANDING);
        run.stage.send_mood(4, 7);
        assert!(run.bot.take_events(&mut run.stage.client));
        let (_, tally) = run.finish();
        assert_eq!((tally.properties, tally.properties_wrong), (compared, 0));
    }

    #[test]
    fn a_mood_told_in_time_is_right() {
        let mut run = Run::new();
        run.tick(0.0);
        let mut told = run.stage.next_tick(&STANDING);
        told.changes = vec![(stage::entity(4), vec![(MOOD, Value::Int(7))])];
        run.stage.tell_truth(&told);
        run.stage.send_mood(4, 7);
        (0..60).for_each(|_| run.tick(0.0));
        assert_eq!(run.finish().1.properties_wrong, 0);
    }

    #[test]
    fn refused_commands_are_counted_and_moods_change_every_five_seconds() {
        let mut run = Run::new();
        let mut moods = 0;
        for _ in 0..500 {
            run.tick(0.0);
            while let Some(bytes) = run.stage.client.poll_stream() {
                moods += bytes.windows(4).filter(|window| window == b"mood").count();
            }
            // Unanswered commands would fill up the SDK's queue.
            for seq in 1..=64 {
                let result = myriad_wire::client::CommandResult {
                    seq: myriad_wire::CommandSeq(seq),
                    refused: Some("no".into()),
                };
                run.stage.send(&ServerMessage::CommandResult(result));
            }
        }
        assert_eq!(moods, 10);
        let refused = run.bot.refusals.clone();
        let counts = run.finish().0;
        assert!(counts.commands_refused >= 10);
        assert_eq!(refused, [("no".to_owned(), counts.commands_refused as u32)]);
    }
}
