//! The rules of the example game, and that the file for editors says what there is.

mod common;

use common::{Game, HZ, REACH_M, load_seeded, load_share};
use myriad_script::ScriptLimits;
use myriad_wire::schema::Audience;
use myriad_wire::{Hop, LaneEpoch, Pos, Value};
use myriad_world::{Form, Handle, Motion, Share, Spawn};

const PLAZA: &[(&str, &str)] = &[
    ("main", include_str!("../../../scripts/plaza/main.luau")),
    ("avatar", include_str!("../../../scripts/plaza/avatar.luau")),
    ("greeter", include_str!("../../../scripts/plaza/greeter.luau")),
    ("moods", include_str!("../../../scripts/plaza/moods.luau")),
    ("npc", include_str!("../../../scripts/plaza/npc.luau")),
];

fn plaza(npcs: i64, seed: u64) -> Game {
    let constants = [("npcs".to_owned(), Value::Int(npcs))];
    let mut game = load_seeded(PLAZA, ScriptLimits::default(), seed, &constants).unwrap();
    game.host.start(&mut game.space);
    game
}

/// The characters as the game begins, in one lane of the space: kind and place.
fn characters(seed: u64, share: Share) -> Vec<(String, Pos)> {
    let constants = [("npcs".to_owned(), int(600))];
    let mut game = load_share(PLAZA, ScriptLimits::default(), seed, &constants, share).unwrap();
    game.host.start(&mut game.space);
    game.no_faults();
    let space = &game.space;
    let characters: Vec<(String, Pos)> = space
        .handles()
        .map(|npc| {
            let kind = space.kind(npc).unwrap().spec().name.clone();
            (kind, space.position(npc).unwrap())
        })
        .collect();
    let opens = format!("the plaza opens with {} characters", characters.len());
    assert_eq!(game.lines(), [opens]);
    characters
}

fn enter(game: &mut Game, name: &str) -> Handle {
    let kind = game.space.kinds().avatar().unwrap().id();
    let properties = vec![("name".to_owned(), Value::Text(name.to_owned()))];
    let spawn = Spawn {
        position: Pos::default(),
        properties,
    };
    let avatar = game.space.spawn(kind, spawn).unwrap();
    game.host.spawned(&mut game.space, avatar);
    game.host.attached(&mut game.space, avatar);
    avatar
}

fn int(v: i64) -> Value {
    Value::Int(v)
}

fn text(v: &str) -> Value {
    Value::Text(v.to_owned())
}

#[test]
fn wanderers_wander_at_their_pace_and_stay_in_the_space() {
    let mut game = plaza(199, 3);
    assert_eq!(game.lines(), ["the plaza opens with 199 characters"]);
    let npcs: Vec<Handle> = game.space.handles().collect();
    assert_eq!(npcs.len(), 199);
    let at = |game: &Game, npc| game.space.position(npc).unwrap().to_metres();
    let (mut stood, mut walked) = (0, vec![0.0; npcs.len()]);
    let seconds = 60;
    for _ in 0..seconds * HZ {
        let before: Vec<_> = npcs.iter().map(|npc| at(&game, *npc)).collect();
        game.tick();
        game.space.clear_changes();
        for (i, npc) in npcs.iter().enumerate() {
            let now = at(&game, *npc);
            assert!(now.x.abs() <= REACH_M && now.z.abs() <= REACH_M && now.y == 0.0);
            let step = now.distance(before[i]);
            assert!(step <= 5.0 / HZ as f64 + 0.002, "{step} m in a tick");
            walked[i] += step;
            stood += u64::from(step == 0.0);
        }
    }
    game.no_faults();
    assert!(
        walked.iter().all(|m| *m > seconds as f64),
        "the laziest goes faster than 1 m/s"
    );
    assert!(stood < 200 * seconds * HZ / 20, "they hardly ever stand: {stood}");
    let spread = |axis: fn(&Game, Handle) -> f64| {
        let values = npcs.iter().map(|npc| axis(&game, *npc));
        values.clone().fold(f64::MIN, f64::max) - values.fold(f64::MAX, f64::min)
    };
    assert!(spread(|game, npc| game.space.position(npc).unwrap().to_metres().x) > REACH_M);
    assert!(spread(|game, npc| game.space.position(npc).unwrap().to_metres().z) > REACH_M);
}

#[test]
fn each_wanderer_changes_its_mood_about_every_five_seconds() {
    let mut game = plaza(100, 4);
    game.space.clear_changes();
    let mood = |game: &Game, npc| {
        let kind = game.space.kind(npc).unwrap();
        assert_eq!(kind.audience(Audience::All).iter().count(), 1);
        kind.property_index("mood").unwrap()
    };
    let (mut changes, mut busiest) = (0, 0);
    for _ in 0..60 * HZ {
        game.tick();
        let space = &game.space;
        let changed = space.changes().changed();
        let moods = changed
            .filter(|(npc, mask)| mask.contains(mood(&game, *npc)))
            .count();
        changes += moods;
        busiest = busiest.max(moods);
        game.space.clear_changes();
    }
    game.no_faults();
    assert!(
        (1100..=1350).contains(&changes),
        "{changes} for 100 of them in a minute"
    );
    assert!(busiest < 15, "not all at once: {busiest}");
}

#[test]
fn one_in_two_hundred_greets_players_with_a_wave_but_not_without_rest() {
    let mut game = plaza(200, 4);
    let kind = game.space.kinds().find("greeter").unwrap();
    assert!(kind.notice_aoi() > 0);
    let kind = kind.id();
    let greeters = game
        .space
        .handles()
        .filter(|h| game.space.kind(*h).unwrap().id() == kind);
    let [greeter] = greeters.collect::<Vec<_>>()[..] else {
        panic!("one of 200")
    };
    let other = game.space.handles().find(|handle| *handle != greeter).unwrap();
    let avatar = enter(&mut game, "ada");
    let waves = |game: &Game| game.space.changes().events().count();
    game.host.noticed(&mut game.space, greeter, other);
    assert_eq!(waves(&game), 0, "only players are greeted");
    game.host.noticed(&mut game.space, greeter, avatar);
    game.host.noticed(&mut game.space, greeter, avatar);
    assert_eq!(waves(&game), 1);
    game.host.lost(&mut game.space, greeter, avatar);
    for _ in 0..4 * HZ {
        game.tick();
        game.space.clear_changes();
    }
    game.host.noticed(&mut game.space, greeter, avatar);
    assert_eq!(waves(&game), 1);
    game.no_faults();
}

#[test]
fn two_runs_of_one_seed_are_alike() {
    let run = |seed| {
        let mut game = plaza(50, seed);
        for _ in 0..100 {
            game.tick();
            game.space.clear_changes();
        }
        let space = &game.space;
        let records = space
            .handles()
            .map(|npc| space.record(npc, Form::Handoff).unwrap());
        records.collect::<Vec<_>>()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn the_lanes_of_a_space_open_the_plaza_together_with_each_character_once() {
    let mut alone = characters(5, Share::WHOLE);
    assert_eq!(alone.len(), 600);
    // Two cells, of which the eastern one has two lanes.
    let west = Share {
        high: [7 * 1024, i64::MAX],
        ..Share::WHOLE
    };
    let east = |lane| Share {
        low: [7 * 1024, i64::MIN],
        lane,
        lanes: 2,
        ..Share::WHOLE
    };
    let lanes = [west, east(0), east(1)].map(|share| characters(5, share));
    assert!(lanes.iter().all(|characters| characters.len() > 100));
    let mut together = lanes.concat();
    for characters in [&mut alone, &mut together] {
        characters.sort_unstable_by_key(|(kind, at)| (kind.clone(), at.x, at.z));
    }
    assert_eq!(together, alone);
}

#[test]
fn a_wave_is_an_event_and_counts_for_its_owner() {
    let mut game = plaza(0, 1);
    let ada = enter(&mut game, "ada");
    assert_eq!(game.property(ada, "name"), text("ada"));
    game.space.clear_changes();
    assert_eq!(game.command(ada, "wave", &[]), Ok(()));
    assert_eq!(game.command(ada, "wave", &[]), Ok(()));
    assert_eq!(
        game.events(),
        [("wave".to_owned(), vec![]), ("wave".to_owned(), vec![])]
    );
    assert_eq!(game.property(ada, "waves"), int(2));
    let kind = game.space.kind(ada).unwrap();
    let (_, mask) = game.space.changes().changed().next().unwrap();
    assert!(
        mask.and(kind.audience(Audience::All)).is_empty(),
        "only its owner is told"
    );
    assert!(!mask.and(kind.audience(Audience::Owner)).is_empty());
    game.no_faults();
}

#[test]
fn what_is_said_is_a_chat_event_unless_it_is_no_text() {
    let mut game = plaza(0, 1);
    let ada = enter(&mut game, "ada");
    assert_eq!(game.command(ada, "say", &[text("hello")]), Ok(()));
    assert_eq!(game.events(), [("chat".to_owned(), vec![text("hello")])]);
    for nothing in [vec![], vec![text("")], vec![int(3)], vec![Value::Bool(true)]] {
        assert_eq!(game.command(ada, "say", &nothing), Err("say what?".to_owned()));
    }
    let long = game.command(ada, "say", &[text(&"x".repeat(201))]);
    assert_eq!(long, Err("that is too long".to_owned()));
    assert_eq!(game.events().len(), 1);
    game.no_faults();
}

#[test]
fn a_mood_is_public_and_from_nought_to_nine() {
    let mut game = plaza(0, 1);
    let ada = enter(&mut game, "ada");
    game.space.clear_changes();
    assert_eq!(game.command(ada, "mood", &[int(7)]), Ok(()));
    assert_eq!(game.property(ada, "mood"), int(7));
    assert_eq!(game.space.changes().changed().count(), 1);
    let bad = [
        vec![],
        vec![int(10)],
        vec![int(-1)],
        vec![Value::Float(1.5)],
        vec![Value::Float(f64::NAN)],
        vec![Value::Float(f64::INFINITY)],
        vec![int(i64::MAX)],
        vec![text("7")],
    ];
    for arguments in bad {
        let refusal = game.command(ada, "mood", &arguments);
        assert_eq!(
            refusal,
            Err("a mood is a whole number from 0 to 9".to_owned()),
            "{arguments:?}"
        );
    }
    assert_eq!(game.property(ada, "mood"), int(7));
    game.no_faults();
}

#[test]
fn a_command_that_nobody_declared_is_refused_and_no_fault() {
    let mut game = plaza(1, 1);
    let ada = enter(&mut game, "ada");
    assert_eq!(
        game.command(ada, "fly", &[]),
        Err("there is no such command".to_owned())
    );
    game.space.despawn(ada).unwrap();
    assert_eq!(
        game.command(ada, "wave", &[]),
        Err("the avatar is gone".to_owned())
    );
    game.no_faults();
}

#[test]
fn an_avatars_saved_form_holds_what_its_kind_declares_as_saved() {
    let mut game = plaza(0, 1);
    let ada = enter(&mut game, "ada");
    game.command(ada, "wave", &[]).unwrap();
    game.command(ada, "mood", &[int(4)]).unwrap();
    let record = game.space.record(ada, Form::Saved).unwrap();
    game.space.despawn(ada).unwrap();
    let restored = game.space.restore(&record, LaneEpoch(0), Hop(0)).unwrap();
    assert!(restored.ignored.is_empty());
    assert_eq!(game.property(restored.handle, "name"), text("ada"));
    assert_eq!(game.property(restored.handle, "waves"), int(1));
    assert_eq!(game.property(restored.handle, "mood"), int(0), "not saved");
    assert_eq!(game.space.motion(restored.handle), Some(Motion::Idle));
}

#[test]
fn the_file_for_editors_names_every_function_and_no_other() {
    let types = include_str!("../../../scripts/types/myriad.d.luau");
    let main = "myriad.kind('avatar', { commands = { list = function(self)
            local names = {}
            for name in myriad do table.insert(names, name) end
            table.sort(names)
            print(table.concat(names, ' '))
        end } })";
    let mut game = load_seeded(&[("main", main)], ScriptLimits::default(), 1, &[]).unwrap();
    let avatar = game.spawn();
    game.command(avatar, "list", &[]).unwrap();
    let declared = types.split("declare myriad: {").nth(1).unwrap();
    let mut names: Vec<&str> = declared
        .lines()
        .filter_map(|line| line.strip_prefix('\t'))
        .filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()))
        .map(|line| line.split(':').next().unwrap())
        .collect();
    names.sort_unstable();
    assert_eq!(game.lines(), [names.join(" ")]);

    let methods = types.lines().filter_map(|line| line.strip_prefix("\tfunction "));
    for method in methods.map(|line| line.split('(').next().unwrap()) {
        let main =
            format!("myriad.kind('a', {{ properties = {{ {{ name = '{method}', type = 'int' }} }} }})");
        let error = common::refusal(&main);
        assert!(error.message.contains("this is the name of a method"), "{error}");
    }
    let count = types.matches("\n\tfunction ").count();
    assert_eq!(count, 16, "a method that the file does not name");
}
