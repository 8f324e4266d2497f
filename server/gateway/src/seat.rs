//! A session's seat in the world: where its observer is, and what its client is told of its own avatar.

use crate::counters::Counters;
use crate::io::ClientOutput;
use crate::mirror::{Mirror, Subject};
use crate::presence::Presence;
use crate::session::{Phase, Session, send_message};
use myriad_aoi::{Engine, ObserverId, SubjectId};
use myriad_wire::Tick;
use myriad_wire::client::{Joined, OwnerUpdate, Rules, ServerMessage};

/// The avatar of a session as the mirror has it, whichever lane tells of it.
fn avatar_in<'a>(mirror: &'a Mirror, presence: &Presence) -> Option<(SubjectId, &'a Subject)> {
    mirror.find(presence.avatar()?.name)
}

/// Tells the engine where a session's avatar is and what it sees, and lets the session in as soon as it has one. An
/// avatar that is missing for a while, because its lane is being restarted, leaves the observer where it was; so does one
/// that is in transit.
pub(crate) fn place_observer(
    observer: ObserverId,
    session: &mut Session,
    mirror: &Mirror,
    engine: &mut Engine,
    counters: &mut Counters,
) {
    let Some((id, subject)) = avatar_in(mirror, &session.presence) else {
        return;
    };
    session.presence.confirm(subject.name);
    let avatar = session.presence.avatar().expect("it has a subject");
    let seat = myriad_aoi::Observer {
        position: subject.position.to_aoi(),
        radius: avatar.radius_aoi.min(myriad_aoi::RADIUS_MAX),
        sees: avatar.sees,
        avatar: Some(id),
    };
    match session.phase {
        Phase::Attaching => {
            engine.insert_observer(observer, seat);
            session.phase = Phase::Joined;
            counters.sessions_joined += 1;
        }
        Phase::Joined => {
            engine.move_observer(observer, seat.position);
            engine.set_radius(observer, seat.radius);
            engine.set_sees(observer, seat.sees);
        }
        Phase::Connected | Phase::Greeted | Phase::LoggedIn | Phase::Closing(_) => {}
    }
}

/// Tells a client its avatar, if it does not know it by its present name.
pub(crate) fn tell_joined(
    session: &mut Session,
    mirror: &Mirror,
    now: u64,
    tick: Tick,
    out: &mut Vec<ClientOutput>,
    counters: &mut Counters,
) {
    let Some(own) = session
        .presence
        .own(now)
        .filter(|_| session.presence.told().is_none())
    else {
        return;
    };
    let Some((_, subject)) = avatar_in(mirror, &session.presence) else {
        return;
    };
    // The avatar may be about to go to a lane that nothing was heard of yet.
    let Some(keyframe) = mirror.lanes()[session.presence.lane].keyframe() else {
        return;
    };
    let radius_aoi = session.presence.avatar().expect("it has a subject").radius_aoi;
    let joined = Joined {
        space: keyframe.space,
        clock: keyframe.clock,
        avatar: subject.name,
        entity: subject.entity,
        position: own.position,
        intent_seq: session.presence.tell(subject.name, tick),
        rules: Rules {
            radius_aoi,
            ..keyframe.rules
        },
        kinds: keyframe.kinds.clone(),
    };
    send_message(
        session.conn,
        &ServerMessage::Joined(Box::new(joined)),
        out,
        counters,
    );
}

/// Tells a client what only it is told, as long as it reads and after its `Joined`.
pub(crate) fn tell_owner(
    session: &mut Session,
    tick: Tick,
    out: &mut Vec<ClientOutput>,
    counters: &mut Counters,
) {
    if session.view.is_frozen() || session.presence.told().is_none() {
        return;
    }
    let properties = session.presence.take_owner();
    if !properties.is_empty() {
        send_message(
            session.conn,
            &ServerMessage::Owner(OwnerUpdate { tick, properties }),
            out,
            counters,
        );
    }
    for result in session.presence.take_results() {
        send_message(session.conn, &ServerMessage::CommandResult(result), out, counters);
    }
}
