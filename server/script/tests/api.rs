//! What scripts declare and call does what `scripts/types/myriad.d.luau` says.

mod common;

use common::{Game, HZ, load, load_share, refusal};
use myriad_script::ScriptLimits;
use myriad_wire::schema::Audience;
use myriad_wire::{Generation, Pos, Slot, Tick, Value};
use myriad_world::{Domain, Handle, Motion, Share};

/// An avatar of a kind with one of everything, and a command `run`.
fn game(body: &str) -> (Game, Handle) {
    let mut game = load(&format!(
        "local other
        myriad.kind('avatar', {{
            avatar = true, radius = 20, speed = 4, layers = 3, sees = 5,
            properties = {{
                {{ name = 'flag', type = 'bool', default = true }},
                {{ name = 'count', type = 'int', to = 'all', min = -5, max = 10, default = 2 }},
                {{ name = 'size', type = 'float', to = 'owner', min = 0, max = 2.5 }},
                {{ name = 'title', type = 'text', to = 'all', saved = true, max_bytes = 8 }},
            }},
            on = {{
                spawned = function(self) print('spawned', self.count) end,
                attached = function() print('attached') end,
                detached = function() print('detached') end,
                arrived = function(self) local x, z = self:position() print('arrived', x, z) end,
            }},
            timers = {{ b = function() print('b') end, a = function(self) print('a') end }},
            commands = {{ run = function(self, ...) {body} end }},
        }})"
    ));
    let avatar = game.spawn();
    assert_eq!(game.lines(), ["spawned 2"]);
    (game, avatar)
}

fn passes(body: &str) -> (Game, Handle) {
    let (mut game, avatar) = game(body);
    let result = game.command(avatar, "run", &[]);
    assert_eq!(result, Ok(()), "{body}: {:?}", game.host.take_faults());
    (game, avatar)
}

fn fails(body: &str, message: &str) {
    let (mut game, avatar) = game(body);
    assert!(game.command(avatar, "run", &[]).is_err(), "{body}");
    let fault = game.fault();
    assert!(fault.message.contains(message), "{fault}");
    assert_eq!(fault.file, "main.luau");
    assert!(fault.line > 0, "{fault}");
}

#[test]
fn a_declaration_becomes_a_kind() {
    let (game, _) = game("");
    let kind = game.space.kinds().avatar().unwrap();
    let spec = kind.spec();
    assert_eq!((spec.name.as_str(), spec.layers, spec.sees), ("avatar", 3, 5));
    assert_eq!((spec.radius_m, spec.speed_max_m_s), (20.0, 4.0));
    assert_eq!(spec.timers, ["a", "b"]);
    let domains: Vec<Domain> = spec.properties.iter().map(|p| p.domain).collect();
    assert_eq!(
        domains,
        [
            Domain::Bool,
            Domain::Int { min: -5, max: 10 },
            Domain::Float { min: 0.0, max: 2.5 },
            Domain::Text { bytes_max: 8 },
        ]
    );
    let audiences: Vec<Audience> = spec.properties.iter().map(|p| p.audience).collect();
    assert_eq!(
        audiences,
        [Audience::Nobody, Audience::All, Audience::Owner, Audience::All]
    );
    let saved: Vec<bool> = spec.properties.iter().map(|p| p.saved).collect();
    assert_eq!(saved, [false, false, false, true]);
    assert_eq!(spec.properties[0].default, Value::Bool(true));
    assert_eq!(spec.properties[2].default, Value::Float(0.0));
}

#[test]
fn a_bad_declaration_is_an_error_at_its_line() {
    let cases = [
        ("myriad.kind('Bad Name', {})", "'Bad Name' is not a name"),
        ("myriad.kind('a', { radus = 3 })", "kind 'a': unknown key 'radus'"),
        (
            "myriad.kind('a', { radius = -1 })",
            "kind 'a': radius must be between 0 and 1000",
        ),
        (
            "myriad.kind('a', { speed = 1001 })",
            "kind 'a': speed must be between 0 and 1000",
        ),
        (
            "myriad.kind('a', { speed = 0 / 0 })",
            "kind 'a': speed: expected a finite number, found NaN",
        ),
        (
            "myriad.kind('a', { layers = -1 })",
            "kind 'a': layers: expected a whole number of 32 bits, found -1",
        ),
        (
            "myriad.kind('a', { avatar = 1 })",
            "kind 'a': avatar is true or false",
        ),
        (
            "myriad.kind('a', { on = { born = print } })",
            "kind 'a': on: unknown key 'born'",
        ),
        (
            "myriad.kind('a', { on = { spawned = 3 } })",
            "kind 'a': on: each is name = function",
        ),
        (
            "myriad.kind('a', { timers = { print } })",
            "kind 'a': timers: each is name = function",
        ),
        (
            "myriad.kind('a', { timers = { ['B B'] = print } })",
            "'B B' is not a name",
        ),
        (
            "myriad.kind('a', { commands = { [''] = print } })",
            "kind 'a': commands: '' is not 1 to 32 bytes long",
        ),
        (
            "myriad.kind('a', {}) myriad.kind('a', {})",
            "kind 'a' is declared twice",
        ),
        (
            "myriad.kind('a', { avatar = true }) myriad.kind('b', { avatar = true })",
            "kinds 'a' and 'b' are both declared as avatar",
        ),
        (
            "for i = 1, 257 do myriad.kind('a' .. i, {}) end",
            "more than 256 entity kinds",
        ),
        ("myriad.kind('a')", "bad argument #2"),
    ];
    for (main, message) in cases {
        let error = refusal(&format!("\n{main}"));
        assert!(error.message.contains(message), "{error}");
        assert_eq!((error.file.as_str(), error.line), ("main.luau", 2), "{error}");
    }
}

#[test]
fn a_bad_property_is_an_error_at_its_line() {
    let cases = [
        ("{ type = 'int' }", "properties: one has no name"),
        ("{ name = 'x' }", "property 'x': it has no type"),
        ("{ name = 'X', type = 'int' }", "'X' is not a name"),
        (
            "{ name = 'x', type = 'number' }",
            "property 'x': type = 'number' is not bool, int, float or text",
        ),
        (
            "{ name = 'x', type = 'int', to = 'some' }",
            "property 'x': to = 'some' is not all, owner or nobody",
        ),
        (
            "{ name = 'x', type = 'int', too = 'all' }",
            "property 'x': unknown key 'too'",
        ),
        (
            "{ name = 'x', type = 'int', saved = 1 }",
            "property 'x': saved is true or false",
        ),
        (
            "{ name = 'x', type = 'int', default = 'a' }",
            "property 'x': default: expected a whole number, found string",
        ),
        (
            "{ name = 'x', type = 'int', default = 1.5 }",
            "property 'x': default: expected a whole number, found 1.5",
        ),
        (
            "{ name = 'x', type = 'text', default = 3 }",
            "property 'x': default: expected a text, found 3",
        ),
        (
            "{ name = 'x', type = 'text', default = '\\xff' }",
            "property 'x': default: a text is UTF-8",
        ),
        (
            "{ name = 'x', type = 'bool', default = 0 }",
            "property 'x': default: expected a boolean, found 0",
        ),
        (
            "{ name = 'x', type = 'int', max = 3, default = 4 }",
            "the default of property 'x' is 4, which is not between",
        ),
        (
            "{ name = 'x', type = 'int', min = 1 }",
            "the default of property 'x' is 0, which is not between 1 and",
        ),
        (
            "{ name = 'x', type = 'int', min = 0.5 }",
            "property 'x': a bound of an int is a whole number",
        ),
        (
            "{ name = 'x', type = 'int', min = 3, max = 1, default = 2 }",
            "the bounds of property 'x' are impossible",
        ),
        (
            "{ name = 'x', type = 'bool', max = 1 }",
            "property 'x': only numbers have min and max",
        ),
        (
            "{ name = 'x', type = 'int', max_bytes = 1 }",
            "property 'x': only texts have max_bytes",
        ),
        (
            "{ name = 'x', type = 'text', max_bytes = 2000 }",
            "property 'x': max_bytes is at most 1024",
        ),
        (
            "{ name = 'x', type = 'text', max_bytes = -1 }",
            "property 'x': max_bytes is at most 1024",
        ),
        (
            "{ name = 'x', type = 'text', max_bytes = 1, default = 'ab' }",
            "the default of property 'x' has 2 bytes, more than 1",
        ),
        (
            "{ name = 'x', type = 'int' }, { name = 'x', type = 'bool' }",
            "kind 'a' declares property 'x' twice",
        ),
        (
            "{ name = 'position', type = 'int' }",
            "property 'position': this is the name of a method",
        ),
        ("3", "properties: it is a list of tables"),
        (
            "x = { name = 'x', type = 'int' }",
            "properties: it is a list of tables",
        ),
    ];
    for (property, message) in cases {
        let error = refusal(&format!(
            "\nmyriad.kind('a', {{ properties = {{ {property} }} }})"
        ));
        assert!(error.message.contains(message), "{error}");
        assert_eq!((error.file.as_str(), error.line), ("main.luau", 2), "{error}");
    }
    let error = refusal(
        "local list = {}
        for i = 1, 65 do list[i] = { name = 'p' .. i, type = 'bool' } end
        myriad.kind('a', { properties = list })",
    );
    assert_eq!(error.message, "kind 'a' has more than 64 properties");
    assert_eq!(error.line, 3);
}

#[test]
fn properties_are_fields() {
    let (game, avatar) = passes(
        "assert(self.flag == true and self.count == 2 and self.size == 0 and self.title == '')
        self.flag = false self.count += 1 self.size = 2 self.title = 'grün'
        assert(self.flag == false and self.count == 3 and self.size == 2 and self.title == 'grün')
        assert(self:get('count') == 3)
        assert(self:set('count', 4) == true)
        local ok, why = self:set('count', 11)
        assert(ok == nil and why == \"property 'count' is 11, which is not between -5 and 10\", why)
        ok, why = self:set('title', 'much too long')
        assert(ok == nil and why == \"property 'title' has 13 bytes, more than 8\", why)",
    );
    assert_eq!(game.property(avatar, "count"), Value::Int(4));
    assert_eq!(game.property(avatar, "size"), Value::Float(2.0));
    assert_eq!(game.property(avatar, "title"), Value::Text("grün".to_owned()));
    fails(
        "self.count = 11",
        "property 'count' is 11, which is not between -5 and 10",
    );
    fails(
        "self.count = 1.5",
        "property 'count': expected a whole number, found 1.5",
    );
    fails(
        "self.count = nil",
        "property 'count': expected a whole number, found nil",
    );
    fails("self.title = '\\xff'", "property 'title': a text is UTF-8");
    fails(
        "self.size = 0 / 0",
        "property 'size' is NaN, which is not between 0 and 2.5",
    );
    fails("self.cuont = 1", "kind 'avatar' has no property 'cuont'");
    fails("print(self.cuont)", "kind 'avatar' has no property 'cuont'");
    fails("self:set('cuont', 1)", "kind 'avatar' has no property 'cuont'");
    fails("self:get('cuont')", "kind 'avatar' has no property 'cuont'");
    fails("self.position = 1", "kind 'avatar' has no property 'position'");
    fails("self[1] = 1", "expected a text, found 1");
}

#[test]
fn an_entity_that_is_gone_is_a_reason_not_a_crash() {
    let (mut game, _) = passes(
        "local other = myriad.spawn('avatar', { x = 3, z = 4 })
        assert(other:alive() and other ~= self and other:kind() == 'avatar')
        assert(other:despawn() == true)
        assert(not other:alive())
        for _, call in {
            function() return other:despawn() end, function() return other:get('count') end,
            function() return other:set('count', 1) end, function() return other:position() end,
            function() return other:move_to(1, 1) end, function() return other:stop() end,
            function() return other:after('a', 1) end, function() return other:cancel('a') end,
            function() return other:emit('x') end, function() return other:layers() end,
            function() return other:set_layers(1) end, function() return other:sees() end,
            function() return other:set_sees(1) end, function() return other:kind() end,
        } do
            local result, why = call()
            assert(result == nil and why == 'the entity is gone', why)
        end
        assert(not pcall(function() return other.count end))
        assert(not pcall(function() other.count = 1 end))
        print(other, self)",
    );
    assert_eq!(game.lines(), ["gone 1.0 avatar 0.0"]);
    assert_eq!(game.space.len(), 1);
}

#[test]
fn entities_are_equal_if_they_are_the_same() {
    passes(
        "local other = myriad.spawn('avatar', {})
        local names = { [self] = 'self', [other] = 'other' }
        other.count = 9
        assert(names[self] == 'self' and names[other] == 'other')
        assert(typeof(self) == 'entity' and type(self) == 'userdata')",
    );
}

#[test]
fn spawning_places_checks_and_tells() {
    let (mut game, avatar) = passes(
        "local other = myriad.spawn('avatar', { x = -3, z = 1e9, properties = { count = 7, title = 'x' } })
        local x, z, y = other:position()
        assert(x == -3 and z == 50 and y == 0)
        print('before')",
    );
    assert_eq!(game.lines(), ["before", "spawned 7"]);
    assert_eq!(game.space.len(), 2);
    assert_eq!(avatar.slot, Slot(0));
    passes(
        "for i = 2, 3000 do assert(myriad.spawn('avatar', {})) end
        local other, why = myriad.spawn('avatar', {})
        assert(other == nil and why == 'the space is full: it has room for 3000 entities', why)",
    );
    fails("myriad.spawn('dragon', {})", "there is no kind 'dragon'");
    fails("myriad.spawn('avatar', { X = 1 })", "spawn: unknown key 'X'");
    fails(
        "myriad.spawn('avatar', { x = 'a' })",
        "expected a finite number, found string",
    );
    fails(
        "myriad.spawn('avatar', { x = 1 / 0 })",
        "expected a finite number, found inf",
    );
    fails(
        "myriad.spawn('avatar', { properties = { age = 1 } })",
        "kind 'avatar' has no property 'age'",
    );
    fails(
        "myriad.spawn('avatar', { properties = { count = 99 } })",
        "property 'count' is 99",
    );
}

#[test]
fn going_somewhere_arrives_and_tells() {
    let (mut game, avatar) = passes("self:move_to(1.5, -2, 4)");
    game.lines();
    for _ in 0..6 {
        game.tick();
    }
    assert!(game.lines().is_empty(), "2.4 m of 2.5");
    game.tick();
    assert_eq!(game.lines(), ["arrived 1.5 -2"]);
    assert_eq!(game.space.motion(avatar), Some(Motion::Idle));
    game.tick();
    assert!(game.lines().is_empty(), "once");
    let (game, avatar) = passes("self:move_to(1e12, 0) self:move_to(9, 9) self:stop()");
    assert_eq!(game.space.motion(avatar), Some(Motion::Idle));
    let (game, avatar) = passes("self:move_to(1e12, -1e12)");
    let speed = 4 * 1024;
    let (x, z) = (50 * 1024, -50 * 1024);
    assert_eq!(game.space.motion(avatar), Some(Motion::MoveTo { x, z, speed }));
    for speed in ["0", "-1", "4.1", "1e300"] {
        fails(
            &format!("self:move_to(1, 1, {speed})"),
            "m/s is not above 0 and at most 4, the kind's",
        );
    }
    fails("self:move_to(1)", "expected a finite number, found nil");
}

#[test]
fn timers_run_when_due_in_the_order_of_their_names() {
    let (mut game, avatar) = passes("self:after('b', 0.3) self:after('a', 0.25)");
    for _ in 0..2 {
        game.tick();
        assert!(game.lines().is_empty());
    }
    game.tick();
    assert_eq!(game.lines(), ["a", "b"]);
    assert_eq!(game.space.timer(avatar, "a"), Ok(None));
    let (mut game, avatar) =
        passes("self:after('a', 1) self:after('a', 0) self:after('b', 1) self:cancel('b')");
    assert_eq!(
        game.space.timer(avatar, "a"),
        Ok(Some(Tick(1))),
        "not before the next tick"
    );
    for _ in 0..2 * HZ {
        game.tick();
    }
    assert_eq!(game.lines(), ["a"]);
    fails("self:after('c', 1)", "kind 'avatar' has no timer 'c'");
    fails("self:cancel('c')", "kind 'avatar' has no timer 'c'");
    fails("self:after('a', -1)", "a timer can't be due in -1 seconds");
    fails("self:after('a', 1e300)", "a timer can't be due in");
    fails("self:after('a', 0 / 0)", "expected a finite number, found NaN");
}

#[test]
fn a_timer_that_sets_itself_again_runs_once_a_tick() {
    let mut game = load(
        "myriad.kind('clock', {
            on = { spawned = function(self) self:after('tick', 0) end },
            timers = { tick = function(self) print(myriad.tick()) self:after('tick', 0) end },
        })",
    );
    game.spawn();
    for _ in 0..3 {
        game.tick();
    }
    assert_eq!(game.lines(), ["1", "2", "3"]);
}

#[test]
fn events_carry_scalars_within_their_limits() {
    let (game, _) = passes("self:emit('hit', 3, 2.5, true, 'au', 2^60, -0.0)");
    let arguments = vec![
        Value::Int(3),
        Value::Float(2.5),
        Value::Bool(true),
        Value::Text("au".to_owned()),
        Value::Float((1u64 << 60) as f64),
        Value::Float(-0.0),
    ];
    assert_eq!(game.events(), [("hit".to_owned(), arguments)]);
    fails(
        "self:emit('hit', {})",
        "expected a boolean, a number or a text, found table",
    );
    fails(
        "self:emit('hit', nil)",
        "expected a boolean, a number or a text, found nil",
    );
    fails("self:emit('hit', '\\xff')", "a text is UTF-8");
    fails("self:emit('')", "an event's name has 1 to 32 bytes");
    fails(
        "self:emit('hit', 1, 2, 3, 4, 5, 6, 7, 8, 9)",
        "an event has at most 8 arguments",
    );
    fails(
        "self:emit('hit', string.rep('x', 1025))",
        "a text has at most 1024 bytes",
    );
    passes(
        "for i = 1, 16384 do self:emit('x') end
        local ok, why = self:emit('x')
        assert(ok == nil and why == 'more than 16384 events in one tick')",
    );
}

#[test]
fn sight_can_be_changed() {
    let (game, avatar) = passes(
        "assert(self:layers() == 3 and self:sees() == 5)
        self:set_layers(0) self:set_sees(4294967295)
        assert(self:layers() == 0 and self:sees() == 4294967295)",
    );
    let sight = game.space.sight(avatar).unwrap();
    assert_eq!((sight.layers, sight.sees), (0, u32::MAX));
    fails(
        "self:set_layers(1.5)",
        "expected a whole number of 32 bits, found 1.5",
    );
    fails(
        "self:set_sees(4294967296)",
        "expected a whole number of 32 bits, found 4294967296",
    );
}

#[test]
fn a_session_that_comes_and_goes_is_told() {
    let (mut game, avatar) = game("");
    game.host.attached(&mut game.space, avatar);
    game.host.detached(&mut game.space, avatar);
    assert_eq!(game.lines(), ["attached", "detached"]);
    game.space.despawn(avatar).unwrap();
    game.host.attached(&mut game.space, avatar);
    assert!(game.lines().is_empty());
}

#[test]
fn a_command_gets_its_arguments_and_says_what_became_of_it() {
    let values = [
        Value::Int(7),
        Value::Float(0.5),
        Value::Bool(false),
        Value::Text("ä".to_owned()),
        Value::Int(i64::MIN),
    ];
    let (mut game, avatar) = game("print(...) return ...");
    assert_eq!(game.command(avatar, "run", &values), Ok(()));
    assert_eq!(game.lines(), ["7 0.5 false ä -9223372036854776000"]);
    let refused = |body: &str| {
        let (mut game, avatar) = self::game(body);
        game.command(avatar, "run", &[])
    };
    assert_eq!(refused("return nil, 'not now'"), Err("not now".to_owned()));
    assert_eq!(refused("return nil, 12"), Ok(()));
    assert_eq!(refused("return true, 'fine'"), Ok(()));
    assert_eq!(refused("return nil"), Ok(()));
    let long = refused("return nil, string.rep('ä', 10000)").unwrap_err();
    assert_eq!(long.len(), 1024);
}

#[test]
fn a_lane_owns_the_places_of_its_share() {
    let main = "myriad.kind('avatar', {})
        myriad.on_start(function()
            print(myriad.owns(-1, 3), myriad.owns(0, 3), myriad.owns(1e9, 3), myriad.owns(-1e9, 3))
        end)";
    let east = Share {
        low: [0, i64::MIN],
        ..Share::WHOLE
    };
    for (share, expected) in [
        (Share::WHOLE, "true true true true"),
        (east, "false true true false"),
    ] {
        let mut game = load_share(&[("main", main)], ScriptLimits::default(), 1, &[], share).unwrap();
        game.host.start(&mut game.space);
        game.no_faults();
        assert_eq!(game.lines(), [expected]);
    }
    fails("myriad.owns(0/0, 1)", "expected a finite number");
    fails("myriad.owns(1)", "expected a finite number");
}

#[test]
fn the_space_and_the_tick_are_told() {
    let (mut game, avatar) = game(
        "local min_x, min_z, max_x, max_z = myriad.bounds()
        print(min_x, min_z, max_x, max_z, myriad.tick())",
    );
    game.space.set_tick(Tick(12));
    game.space.set_position(avatar, Pos::default()).unwrap();
    game.command(avatar, "run", &[]).unwrap();
    assert_eq!(game.lines(), ["-50 -50 50 50 12"]);
    let nobody = Handle {
        slot: Slot(99),
        generation: Generation(0),
    };
    assert_eq!(
        game.command(nobody, "run", &[]),
        Err("the avatar is gone".to_owned())
    );
}
