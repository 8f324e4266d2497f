//! The lane between hand-made gateways and storage in memory: what it publishes, whom it believes, what it saves.

use bytes::Bytes;
use myriad_lane::{Config, Counters, Lane, Output};
use myriad_script::{ScriptHost, ScriptLimits, ScriptSources};
use myriad_storage::{MemoryStorage, Storage as _, StorageReply, StorageRequest, serve};
use myriad_wire::fabric::{
    Attach, Avatar, Detach, Envelope, Frame, Report, RoleId, Route, RouteState, Routes, SessionCommand,
    SessionIntents, ToGateway,
};
use myriad_wire::limits::NODE_MESSAGE_BYTES_MAX;
use myriad_wire::link::Link;
use myriad_wire::payload::Step;
use myriad_wire::track::decode_chunk;
use myriad_wire::{
    CloseReason, CommandSeq, EntityId, GatewayId, Incarnation, IntentSeq, LaneEpoch, LaneId, Pos, SessionId,
    SpaceClock, SpaceId, Tick, Value, codec,
};
use myriad_world::{Space, SpaceConfig};

const LANE: LaneId = LaneId(1);
const EPOCH: LaneEpoch = LaneEpoch(7);
const METRE: i32 = 1024;

const GAME: &str = r#"
myriad.kind("avatar", {
    avatar = true, radius = 50, speed = 5,
    properties = {
        { name = "name", type = "text", to = "all", saved = true, default = "" },
        { name = "mood", type = "int", to = "all", saved = true, default = 0 },
        { name = "purse", type = "int", to = "owner", saved = true, default = 10 },
    },
    commands = {
        mood = function(self, mood) self.mood = mood end,
        refuse = function(self) return nil, "not today" end,
        vanish = function(self) self:despawn() end,
        wave = function(self) self:emit("wave") end,
    },
})
"#;

/// A gateway as the lane sees one.
struct Gateway {
    id: GatewayId,
    link: Link,
    frames: Vec<Frame>,
    routes: Vec<Routes>,
    /// Drop the next so many messages from the lane.
    lose: u32,
    resync: bool,
    /// What a full report names.
    attached: Vec<Attach>,
}

impl Gateway {
    fn new(id: u32) -> Self {
        let link = Link::new(Incarnation(id));
        Self {
            id: GatewayId(id),
            link,
            frames: Vec::new(),
            routes: Vec::new(),
            lose: 0,
            resync: true,
            attached: Vec::new(),
        }
    }

    fn send(&mut self, lane: &mut Lane, mut report: Report) {
        self.attached.extend(report.attach.iter().cloned());
        if std::mem::take(&mut self.resync) {
            report.full = true;
            report.attach.clone_from(&self.attached);
        }
        let from = RoleId::Gateway(self.id);
        let envelope = Envelope {
            to: RoleId::Lane(LANE),
            from,
            link: self.link.stamp(),
        };
        lane.handle_message(&envelope, codec::encode(&report).into());
    }

    fn receive(&mut self, envelope: &Envelope, body: &Bytes) {
        if self.lose > 0 {
            self.lose -= 1;
            return;
        }
        let verdict = self.link.handle(envelope.link);
        self.resync |= verdict.resync;
        if !verdict.deliver {
            return;
        }
        match codec::decode(body, NODE_MESSAGE_BYTES_MAX).expect("a lane sends messages") {
            ToGateway::Frame(frame) => self.frames.push(*frame),
            ToGateway::Routes(routes) => self.routes.push(routes),
        }
    }

    fn route(&self, session: u64) -> Option<&Route> {
        self.routes
            .last()?
            .sessions
            .iter()
            .find(|route| route.session == SessionId(session))
    }

    fn attached(&self, session: u64) -> &myriad_wire::fabric::AttachedRoute {
        match &self.route(session).expect("a route for the session").state {
            RouteState::Attached(route) => route,
            RouteState::Ended(reason) => panic!("the session ended: {reason:?}"),
        }
    }
}

struct Rig {
    lane: Lane,
    storage: MemoryStorage,
    gateways: Vec<Gateway>,
    now: Tick,
    saves: usize,
    storage_fails: bool,
}

impl Rig {
    fn new(gateways: u32) -> Self {
        Self::over(MemoryStorage::default(), gateways, EPOCH)
    }

    fn over(storage: MemoryStorage, gateways: u32, epoch: LaneEpoch) -> Self {
        let clock = SpaceClock::new(1_000_000, 10.0);
        let bounds = Pos {
            x: 50 * METRE,
            y: 0,
            z: 50 * METRE,
        };
        let bounds_min = Pos {
            x: -bounds.x,
            y: 0,
            z: -bounds.z,
        };
        let config = Config {
            lane: LANE,
            epoch,
            incarnation: Incarnation(epoch.0 as u32),
            space: SpaceId(1),
            clock,
            bounds_min,
            bounds_max: bounds,
            spawn_side: 20 * METRE as u32,
            seed: 3,
            burst_ms: 1000,
            grace_s: 2.0,
            gateway_silence_s: 0.5,
            save_interval_s: 1.0,
            sessions_max: 3,
            inbox_max: 1000,
            truth: true,
        };
        let mut sources = ScriptSources::default();
        sources.insert("main", GAME);
        let (script, kinds) =
            ScriptHost::load(&sources, ScriptLimits::default(), 1, &[]).expect("the test's game");
        let space = SpaceConfig {
            bounds_min,
            bounds_max: bounds,
            rate_mhz: clock.rate_mhz,
            entities_max: 1000,
        };
        let space = Space::new(space, kinds, config.incarnation);
        let now = Tick(100);
        let gateways = (0..gateways).map(|i| Gateway::new(10 + i)).collect();
        Self {
            lane: Lane::new(config, space, script, now),
            storage,
            gateways,
            now,
            saves: 0,
            storage_fails: false,
        }
    }

    /// One tick; the gateways whose reports are given speak before it. Storage answers before the next one.
    fn tick(&mut self, reports: Vec<(usize, Report)>) -> Output {
        for (gateway, mut report) in reports {
            report.epoch = self.lane.config().epoch;
            self.gateways[gateway].send(&mut self.lane, report);
        }
        self.now = self.now + 1;
        let mut output = Output::default();
        self.lane.tick(self.now, &mut output, |_| {});
        for (envelope, body) in &output.messages {
            let to = self
                .gateways
                .iter_mut()
                .find(|gateway| RoleId::Gateway(gateway.id) == envelope.to);
            to.expect("the lane answers those who spoke")
                .receive(envelope, body);
        }
        for request in output.storage.drain(..) {
            self.saves += usize::from(matches!(request, StorageRequest::Save { .. }));
            let reply = match request {
                StorageRequest::Save { request, .. } if self.storage_fails => StorageReply::Saved {
                    request,
                    result: Err("the disk is full".into()),
                },
                request => serve(&mut self.storage, request),
            };
            self.lane.handle_storage(reply);
        }
        output
    }

    fn idle(&mut self, ticks: u32) {
        for _ in 0..ticks {
            let all = (0..self.gateways.len())
                .map(|gateway| (gateway, Report::default()))
                .collect();
            self.tick(all);
        }
    }

    /// Attaches a session and waits for its avatar.
    fn attach(&mut self, gateway: usize, session: u64, account: &str) -> Avatar {
        let attach = Attach {
            session: SessionId(session),
            account: account.into(),
        };
        self.tick(vec![(
            gateway,
            Report {
                attach: vec![attach],
                ..Report::default()
            },
        )]);
        self.tick(vec![(gateway, Report::default())]);
        let avatars = self.gateways[gateway]
            .routes
            .iter()
            .flat_map(|routes| &routes.sessions);
        let of_session = avatars.filter(|route| route.session == SessionId(session));
        of_session
            .filter_map(|route| match &route.state {
                RouteState::Attached(route) => route.avatar,
                RouteState::Ended(_) => None,
            })
            .next_back()
            .expect("the avatar is announced")
    }

    fn counters(&self) -> Counters {
        *self.lane.counters()
    }

    fn position(&self, entity: EntityId) -> Option<Pos> {
        self.lane.space().position(self.lane.space().find(entity)?)
    }
}

fn intents(session: u64, avatar: &Avatar, newest: u32, steps: &[Step]) -> Report {
    let intents = SessionIntents {
        session: SessionId(session),
        epoch: avatar.epoch,
        newest: IntentSeq(newest),
        steps: steps.into(),
    };
    Report {
        intents: vec![intents],
        ..Report::default()
    }
}

fn command(session: u64, avatar: &Avatar, seq: u32, name: &str, arguments: Vec<Value>) -> Report {
    let command = SessionCommand {
        session: SessionId(session),
        epoch: avatar.epoch,
        seq: CommandSeq(seq),
        name: name.into(),
        arguments,
    };
    Report {
        commands: vec![command],
        ..Report::default()
    }
}

#[test]
fn a_new_account_gets_an_avatar_with_its_name_in_a_keyframe() {
    let mut rig = Rig::new(1);
    let avatar = rig.attach(0, 1, "ada");
    let frames = &rig.gateways[0].frames;
    assert!(
        frames[0].keyframe.is_some(),
        "the first frame for a reader is a keyframe"
    );
    assert!(frames[1].keyframe.is_none());
    let join = frames
        .iter()
        .flat_map(|frame| &frame.joins)
        .find(|join| join.entity == avatar.entity);
    assert_eq!(
        join.expect("the avatar joined").properties[0].1,
        Value::Text("ada".into())
    );
    let owner =
        &rig.gateways[0]
            .routes
            .iter()
            .rev()
            .find_map(|routes| match &routes.sessions.first()?.state {
                RouteState::Attached(route) if route.avatar.is_some() => Some(route.properties.clone()),
                _ => None,
            });
    assert_eq!(
        owner.as_ref().expect("announced").first().map(|(_, value)| value),
        Some(&Value::Int(10))
    );
    let public = join.map(|join| join.properties.len());
    assert_eq!(
        public,
        Some(2),
        "what only the owner is told never gets into a frame"
    );
}

#[test]
fn intents_are_applied_once_and_in_order() {
    let mut rig = Rig::new(1);
    let avatar = rig.attach(0, 1, "ada");
    let start = rig.position(avatar.entity).expect("in the world");
    let steps = [Step { dx: 300, dz: 0 }, Step { dx: 0, dz: -200 }];
    rig.tick(vec![(0, intents(1, &avatar, 2, &steps))]);
    // The same again, with one more: as a client that saw no answer sends it.
    rig.tick(vec![(
        0,
        intents(1, &avatar, 3, &[steps[0], steps[1], Step { dx: 7, dz: 7 }]),
    )]);
    let end = rig.position(avatar.entity).expect("in the world");
    assert_eq!(
        end,
        Pos {
            x: start.x + 307,
            y: 0,
            z: start.z - 193
        }
    );
    let own = rig.gateways[0].attached(1).own;
    assert_eq!(
        (own.intent_seq, own.position, own.corrections),
        (IntentSeq(3), end, 0)
    );
    assert_eq!(rig.counters().repeated, 2);
}

#[test]
fn a_client_that_goes_too_fast_is_corrected_and_gains_nothing() {
    let mut rig = Rig::new(1);
    let avatar = rig.attach(0, 1, "ada");
    let start = rig.position(avatar.entity).expect("in the world");
    for seq in 1..=20 {
        rig.tick(vec![(
            0,
            intents(1, &avatar, seq, &[Step { dx: 4 * METRE, dz: 0 }]),
        )]);
    }
    let gone = rig.position(avatar.entity).expect("in the world").x - start.x;
    // 5 m/s for 2 s and at most the burst of one second on top.
    assert!(gone <= 15 * METRE + METRE, "{gone}");
    assert!(rig.gateways[0].attached(1).own.corrections > 10);
    assert_eq!(
        u64::from(rig.gateways[0].attached(1).own.corrections),
        rig.counters().intents_clipped
    );
}

#[test]
fn commands_are_answered_once_each() {
    let mut rig = Rig::new(1);
    let avatar = rig.attach(0, 1, "ada");
    rig.tick(vec![(0, command(1, &avatar, 1, "mood", vec![Value::Int(4)]))]);
    assert_eq!(rig.gateways[0].attached(1).results.len(), 1);
    let change = rig.gateways[0].frames.last().expect("a frame").changes.clone();
    assert_eq!(
        change.first().map(|change| change.properties[0].1.clone()),
        Some(Value::Int(4))
    );
    rig.tick(vec![(0, command(1, &avatar, 1, "mood", vec![Value::Int(9)]))]);
    assert!(
        rig.gateways[0].attached(1).results.is_empty(),
        "a repeated command is not run again"
    );
    rig.tick(vec![(0, command(1, &avatar, 2, "refuse", vec![]))]);
    assert_eq!(
        rig.gateways[0].attached(1).results[0].refused.as_deref(),
        Some("not today")
    );
    rig.tick(vec![(0, command(1, &avatar, 3, "nonsense", vec![]))]);
    assert!(rig.gateways[0].attached(1).results[0].refused.is_some());
    rig.tick(vec![(0, command(1, &avatar, 4, "wave", vec![]))]);
    assert_eq!(
        rig.gateways[0].frames.last().expect("a frame").events[0].name,
        "wave"
    );
}

#[test]
fn a_second_login_takes_the_avatar_over() {
    let mut rig = Rig::new(2);
    let first = rig.attach(0, 1, "ada");
    let second = rig.attach(1, 2, "ada");
    assert_eq!(first.entity, second.entity);
    assert!(second.epoch > first.epoch);
    rig.tick(vec![(0, Report::default()), (1, Report::default())]);
    let ended = rig.gateways[0].routes.iter().flat_map(|routes| &routes.sessions);
    let reasons: Vec<_> = ended
        .filter_map(|route| match route.state {
            RouteState::Ended(reason) => Some((route.session, reason)),
            RouteState::Attached(_) => None,
        })
        .collect();
    assert_eq!(reasons, [(SessionId(1), CloseReason::Replaced)]);
    let before = rig.position(first.entity);
    rig.tick(vec![(0, intents(1, &first, 1, &[Step { dx: 100, dz: 0 }]))]);
    assert_eq!(
        rig.position(first.entity),
        before,
        "intents of the older session are dropped"
    );
}

#[test]
fn a_replaced_session_whose_gateway_missed_it_does_not_take_the_avatar_back() {
    let mut rig = Rig::new(2);
    rig.attach(0, 1, "ada");
    rig.gateways[0].lose = 100;
    let second = rig.attach(1, 2, "ada");
    rig.gateways[0].lose = 0;
    rig.gateways[0].resync = true;
    rig.tick(vec![(0, Report::default()), (1, Report::default())]);
    rig.idle(2);
    let own = rig.attach(1, 2, "ada");
    assert_eq!(own.epoch, second.epoch, "nobody was attached in between");
    assert!(rig.gateways[1].route(2).is_some());
}

#[test]
fn a_session_attached_and_detached_within_one_tick_is_gone() {
    let mut rig = Rig::new(1);
    rig.attach(0, 1, "ada");
    let attach = Attach {
        session: SessionId(2),
        account: "bob".into(),
    };
    let detach = Detach {
        session: SessionId(2),
        left: true,
    };
    let attaching = Report {
        attach: vec![attach],
        ..Report::default()
    };
    let detaching = Report {
        detach: vec![detach],
        ..Report::default()
    };
    rig.tick(vec![(0, attaching), (0, detaching)]);
    rig.idle(3);
    assert!(rig.gateways[0].route(2).is_none());
    assert_eq!(rig.lane.sessions(), 1);
}

#[test]
fn a_silent_gateways_avatars_leave_once_after_the_grace_period() {
    let mut rig = Rig::new(2);
    let lost = rig.attach(0, 1, "ada");
    let other = rig.attach(1, 2, "bob");
    let mut left_at = Vec::new();
    for tick in 1..60 {
        rig.tick(vec![(1, Report::default())]);
        let frame = rig.gateways[1].frames.last().expect("a frame");
        left_at.extend(frame.leaves.iter().map(|leave| (tick, leave.slot)));
    }
    assert_eq!(left_at.len(), 1, "{left_at:?}");
    assert_eq!(left_at[0].1, lost.slot);
    // Half a second of silence and two of grace.
    assert!((24..=28).contains(&left_at[0].0), "{left_at:?}");
    assert!(rig.position(other.entity).is_some());
    assert_eq!(
        (rig.counters().gateways_lost, rig.counters().avatars_departed),
        (1, 1)
    );
}

#[test]
fn a_gateway_that_was_taken_for_dead_can_come_back() {
    let mut rig = Rig::new(1);
    rig.attach(0, 1, "ada");
    rig.gateways[0].lose = 1;
    rig.idle(2);
    for _ in 0..10 {
        rig.tick(vec![]);
    }
    assert_eq!(rig.counters().gateways_lost, 1);
    let frames = rig.gateways[0].frames.len();
    rig.idle(4);
    let frame = &rig.gateways[0].frames[frames];
    assert!(frame.keyframe.is_some());
    assert_eq!(rig.gateways[0].frames.last().expect("a frame").tick, rig.now);
}

#[test]
fn within_the_grace_period_a_player_finds_the_avatar_where_it_stands() {
    let mut rig = Rig::new(2);
    let before = rig.attach(0, 1, "ada");
    for _ in 0..20 {
        rig.tick(vec![(1, Report::default())]);
    }
    let after = rig.attach(1, 2, "ada");
    assert_eq!(
        (before.entity, before.slot, before.generation),
        (after.entity, after.slot, after.generation)
    );
    rig.idle(30);
    assert_eq!(rig.counters().avatars_departed, 0);
}

#[test]
fn a_goodbye_needs_no_grace_and_what_was_saved_comes_back() {
    let mut rig = Rig::new(1);
    let avatar = rig.attach(0, 1, "ada");
    rig.tick(vec![(0, intents(1, &avatar, 1, &[Step { dx: 2000, dz: 1000 }]))]);
    rig.tick(vec![(0, command(1, &avatar, 1, "mood", vec![Value::Int(4)]))]);
    let place = rig.position(avatar.entity);
    let detach = Detach {
        session: SessionId(1),
        left: true,
    };
    rig.tick(vec![(
        0,
        Report {
            detach: vec![detach],
            ..Report::default()
        },
    )]);
    assert_eq!(rig.position(avatar.entity), None, "gone at once");
    // Back before storage has answered, and once more after it has.
    let again = rig.attach(0, 2, "ada");
    assert_eq!((again.entity, rig.position(again.entity)), (avatar.entity, place));
    let detach = Detach {
        session: SessionId(2),
        left: true,
    };
    rig.tick(vec![(
        0,
        Report {
            detach: vec![detach],
            ..Report::default()
        },
    )]);
    rig.idle(5);
    let third = rig.attach(0, 3, "ada");
    assert_eq!((third.entity, rig.position(third.entity)), (avatar.entity, place));
    let mut later = Rig::over(rig.storage.clone(), 1, LaneEpoch(8));
    let restarted = later.attach(0, 9, "ada");
    assert_eq!(
        (restarted.entity, later.position(restarted.entity)),
        (avatar.entity, place)
    );
    let joins: Vec<_> = later.gateways[0]
        .frames
        .iter()
        .flat_map(|frame| &frame.joins)
        .collect();
    assert_eq!(joins[0].properties[1].1, Value::Int(4));
}

#[test]
fn what_changed_is_saved_within_the_interval_and_again_if_storage_failed() {
    let mut rig = Rig::new(1);
    let avatar = rig.attach(0, 1, "ada");
    rig.idle(3);
    assert_eq!(rig.saves, 1, "a new avatar is saved at once");
    rig.idle(30);
    assert_eq!(rig.saves, 1, "what did not change is not saved again");
    rig.storage_fails = true;
    rig.tick(vec![(0, intents(1, &avatar, 1, &[Step { dx: 500, dz: 0 }]))]);
    rig.idle(10);
    assert!(rig.counters().storage_errors > 0);
    rig.storage_fails = false;
    rig.idle(10);
    let saved = rig
        .storage
        .load_avatar("ada")
        .expect("memory does not fail")
        .expect("saved");
    assert_eq!(Some(saved.position), rig.position(avatar.entity));
    assert_eq!(saved.epoch.era, EPOCH.0);
}

#[test]
fn a_reader_that_lost_a_frame_gets_a_keyframe() {
    let mut rig = Rig::new(1);
    rig.attach(0, 1, "ada");
    let frames = rig.gateways[0].frames.len();
    rig.gateways[0].lose = 1;
    rig.idle(1);
    assert_eq!(
        rig.gateways[0].frames.len(),
        frames,
        "all that follows a gap is refused"
    );
    rig.idle(1);
    let frame = rig.gateways[0].frames.last().expect("a frame");
    assert!(frame.keyframe.is_some());
    assert!(rig.gateways[0].routes.last().expect("routes").full);
    assert_eq!(frame.tick, rig.now);
    assert_eq!(rig.counters().resyncs, 1);
    rig.idle(1);
    assert!(rig.gateways[0].frames.last().expect("a frame").keyframe.is_none());
}

#[test]
fn a_full_report_ends_the_sessions_it_does_not_name() {
    let mut rig = Rig::new(1);
    let avatar = rig.attach(0, 1, "ada");
    rig.tick(vec![(
        0,
        Report {
            full: true,
            ..Report::default()
        },
    )]);
    assert!(rig.gateways[0].route(1).is_none());
    rig.idle(25);
    assert_eq!(rig.position(avatar.entity), None);
}

#[test]
fn a_session_too_many_is_refused() {
    let mut rig = Rig::new(1);
    for (session, account) in (1..).zip(["a", "b", "c"]) {
        rig.attach(0, session, account);
    }
    let attach = Attach {
        session: SessionId(4),
        account: "d".into(),
    };
    rig.tick(vec![(
        0,
        Report {
            attach: vec![attach],
            ..Report::default()
        },
    )]);
    assert!(matches!(
        rig.gateways[0].route(4),
        Some(Route {
            state: RouteState::Ended(CloseReason::Full),
            ..
        })
    ));
}

#[test]
fn an_avatar_that_its_script_removes_ends_the_session() {
    let mut rig = Rig::new(1);
    let avatar = rig.attach(0, 1, "ada");
    rig.tick(vec![(0, command(1, &avatar, 1, "vanish", vec![]))]);
    rig.tick(vec![(0, Report::default())]);
    assert!(matches!(
        rig.gateways[0].route(1),
        Some(Route {
            state: RouteState::Ended(CloseReason::Removed),
            ..
        })
    ));
}

#[test]
fn reports_of_another_lane_epoch_move_nobody() {
    let mut rig = Rig::new(1);
    let avatar = rig.attach(0, 1, "ada");
    let before = rig.position(avatar.entity);
    let report = Report {
        epoch: LaneEpoch(6),
        ..intents(1, &avatar, 1, &[Step { dx: 100, dz: 0 }])
    };
    rig.gateways[0].send(&mut rig.lane, report);
    rig.tick(vec![]);
    assert_eq!(rig.position(avatar.entity), before);
}

#[test]
fn jumped_over_ticks_are_counted_and_published() {
    let mut rig = Rig::new(1);
    rig.attach(0, 1, "ada");
    rig.now = rig.now + 5;
    rig.idle(1);
    assert_eq!(rig.gateways[0].frames.last().expect("a frame").skipped_ticks, 5);
}

#[test]
fn frames_say_where_the_truth_says_everything_is() {
    let mut rig = Rig::new(1);
    let avatar = rig.attach(0, 1, "ada");
    for seq in 1..30 {
        let step = Step {
            dx: seq as i32 * 13 % 400,
            dz: -(seq as i32 * 7 % 300),
        };
        let output = rig.tick(vec![(0, intents(1, &avatar, seq, &[step]))]);
        let truth = output.truth.expect("enabled");
        let mut decoded = Vec::new();
        for track in &rig.gateways[0].frames.last().expect("a frame").tracks {
            for chunk in &track.levels[0] {
                decode_chunk(chunk, |state| decoded.push((state.slot, state.position))).expect("a chunk");
            }
        }
        decoded.sort_unstable_by_key(|(slot, _)| *slot);
        let expected = truth
            .entities
            .iter()
            .map(|entity| (entity.slot, entity.position.to_wire().centre()));
        assert!(decoded.into_iter().eq(expected));
    }
}

#[test]
fn an_inbox_that_is_full_drops_and_the_link_recovers() {
    let mut rig = Rig::new(1);
    rig.attach(0, 1, "ada");
    for _ in 0..1100 {
        rig.gateways[0].send(&mut rig.lane, Report::default());
    }
    rig.idle(4);
    assert!(rig.counters().inbox_dropped >= 100);
    assert!(rig.gateways[0].route(1).is_some(), "the session survived");
}
