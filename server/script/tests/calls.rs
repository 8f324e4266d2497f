//! What scripts call of entities, wherever these are.

mod common;

use common::load;
use myriad_script::Callee;
use myriad_wire::Value;

#[test]
fn calls_wait_for_the_lane_and_run_what_the_kind_declares() {
    let main = "
        myriad.kind('a', {
            avatar = true,
            properties = { { name = 'hits', type = 'int' } },
            calls = { hit = function(self, times, who) self.hits += times; print(who) end },
            commands = {
                call = function(self) return self:call('hit', 3, 'ada') end,
                area = function(self) return myriad.call_area(1, -2, 5.5, 'hit', 1, 'ben') end,
                unknown = function(self) return self:call('hat') end,
                wide = function(self) return myriad.call_area(0, 0, 61, 'hit') end,
                many = function(self) return self:call('hit', 1, 2, 3, 4, 5, 6, 7, 8, 9) end,
                table = function(self) return self:call('hit', {}) end,
                gone = function(self) self:despawn() return self:call('hit', 1, '') end,
            },
        })
        myriad.kind('b', {})";
    let mut game = load(main);
    let avatar = game.spawn();
    game.command(avatar, "call", &[]).unwrap();
    game.command(avatar, "area", &[]).unwrap();
    let calls = game.host.take_calls();
    let name = game.space.life(avatar).unwrap().name;
    let entity = game.space.id(avatar).unwrap();
    assert_eq!(calls[0].to, Callee::Entity(entity, name));
    let center = [1024, -2048];
    assert_eq!(calls[1].to, Callee::Area { center, radius: 5632 });
    assert_eq!((calls.len(), calls[1].arguments.len()), (2, 2));
    assert!(game.host.take_calls().is_empty(), "they are taken once");
    assert_eq!(
        game.property(avatar, "hits"),
        Value::Int(0),
        "nothing has run yet"
    );

    for call in &calls {
        assert!(
            game.host
                .called(&mut game.space, avatar, &call.name, &call.arguments)
        );
    }
    assert_eq!(game.property(avatar, "hits"), Value::Int(4));
    assert_eq!(game.lines(), ["ada", "ben"]);
    assert!(
        !game.host.called(&mut game.space, avatar, "hat", &[]),
        "its kind has no such call"
    );
    game.no_faults();

    for (command, why) in [
        ("unknown", "no kind declares a call 'hat'"),
        ("wide", "a radius of 61 m is not within 0 to 60"),
        ("many", "a call has at most 8 arguments"),
        ("table", "expected a boolean, a number or a text"),
    ] {
        game.command(avatar, command, &[]).unwrap_err();
        let (faults, _) = game.host.take_faults();
        assert!(
            faults[0].message.contains(why),
            "{command}: {}",
            faults[0].message
        );
    }
    let gone = game.command(avatar, "gone", &[]).unwrap_err();
    assert!(gone.contains("gone"), "{gone}");
    assert!(game.host.take_calls().is_empty());
}
