//! Scripts can't get out, can't run for ever, can't eat the machine, and say where they went wrong.

mod common;

use common::{Game, load, load_seeded, refusal, try_load};
use myriad_script::ScriptLimits;
use myriad_wire::Value;

/// Runs `body` as a command of an avatar; what it logged.
fn run(body: &str) -> (Game, Result<(), String>) {
    let mut game = load(&format!(
        "myriad.kind('avatar', {{ commands = {{ run = function(self)\n{body}\nend }} }})"
    ));
    let avatar = game.spawn();
    let result = game.command(avatar, "run", &[]);
    (game, result)
}

#[test]
fn what_reaches_the_machine_is_not_there() {
    let names = "os io debug loadstring getfenv setfenv collectgarbage gcinfo newproxy integer package dofile loadfile load";
    for name in names.split(' ') {
        let (mut game, result) = run(&format!("assert({name} == nil, '{name} is there')"));
        assert_eq!(result, Ok(()), "{:?}", game.host.take_faults());
    }
    let (_, result) = run("assert(math.randomseed == nil)");
    assert_eq!(result, Ok(()));
}

#[test]
fn nothing_that_is_shared_can_be_changed() {
    for body in [
        "leak = 1",
        "_G.leak = 1",
        "string.find = nil",
        "math.random = nil",
        "myriad.spawn = nil",
        "myriad.game.x = 1",
        "getmetatable('').__index = nil",
        "getmetatable(self).__index = nil",
        "setmetatable(self, {})",
        "rawset(_G, 'leak', 1)",
        "rawset(myriad, 'spawn', 1)",
        "rawset(self, 'x', 1)",
        "table.insert(myriad, 1)",
        "table.clear(myriad)",
    ] {
        let (mut game, result) = run(body);
        assert_eq!(result, Err("the command failed".to_owned()), "{body}");
        let fault = game.fault();
        assert_eq!(
            (fault.file.as_str(), fault.line),
            ("main.luau", 2),
            "{body}: {fault}"
        );
        assert_eq!(fault.call, "command 'run' of avatar");
    }
}

#[test]
fn an_entity_can_not_be_made_up() {
    for body in [
        "myriad.kind.x = 1",
        "self.position(12)",
        "self.position('a')",
        "self.position(buffer.create(8))",
    ] {
        let (mut game, result) = run(body);
        assert!(result.is_err(), "{body}");
        game.fault();
    }
}

const RUNAWAYS: &[(&str, &str)] = &[
    ("a loop", "while true do end"),
    (
        "a loop of pcall",
        "while true do pcall(function() while true do end end) end",
    ),
    (
        "a string.find bomb",
        "local s = string.rep('a', 1000) string.find(s, string.rep('a*', 30) .. 'b')",
    ),
    (
        "a string.find bomb of plain text",
        "local s = string.rep('a', 8000000) string.find(s, string.rep('a', 4000000) .. 'b', 1, true)",
    ),
    (
        "a string.split bomb",
        "local s = string.rep('a', 8000000) string.split(s, string.rep('a', 4000000) .. 'b')",
    ),
    (
        "coroutines",
        "while true do coroutine.wrap(function() while true do end end)() end",
    ),
    (
        "caught coroutines",
        "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
    ),
    (
        "a doubling recursion",
        "local function f() pcall(f) pcall(f) end f()",
    ),
    (
        "a metamethod",
        "return setmetatable({}, { __index = function() while true do end end }).x",
    ),
    (
        "a message handler",
        "while true do xpcall(error, function() while true do end end) end",
    ),
    ("an iterator", "for _ in function() return 1 end do end"),
    (
        "sorting",
        "local t = table.create(1000000, 1) while true do table.sort(t) end",
    ),
    (
        "inserting in front",
        "local t = table.create(2000000, 1) while true do table.insert(t, 1, 1) end",
    ),
    ("spawning", "while true do myriad.spawn('avatar', {}) end"),
];

#[test]
fn a_runaway_ends_within_its_budget_and_alone() {
    for (name, body) in RUNAWAYS {
        let (mut game, result) = run(body);
        assert_eq!(result, Err("the command failed".to_owned()), "{name}");
        let fault = game.fault();
        assert_eq!(
            fault.message, "the call used up its budget of 100000 steps",
            "{name}"
        );
        assert_eq!((fault.file.as_str(), fault.line), ("main.luau", 2), "{name}");
        // The VM is none the worse for it.
        let avatar = game.space.handles().next().unwrap();
        assert_eq!(
            game.command(avatar, "nothing", &[]),
            Err("there is no such command".to_owned())
        );
        let (_, result) = run("local t = {} for i = 1, 1000 do t[i] = tostring(i) end");
        assert_eq!(result, Ok(()), "{name}");
    }
}

#[test]
fn a_call_that_hides_the_end_of_its_budget_is_a_fault_all_the_same() {
    let (mut game, result) = run("pcall(function() while true do end end)");
    assert_eq!(result, Err("the command failed".to_owned()));
    assert!(game.fault().message.contains("budget"));
}

#[test]
fn spawned_handlers_pay_out_of_the_budget_of_the_call_that_spawned() {
    let main = "myriad.kind('egg', {
            on = { spawned = function(self) myriad.spawn('egg', {}) self:despawn() end },
        })
        myriad.on_start(function() myriad.spawn('egg', {}) end)";
    let limits = ScriptLimits {
        steps_at_start: 5000,
        ..ScriptLimits::default()
    };
    let mut game = try_load(&[("main", main)], limits).unwrap();
    game.host.start(&mut game.space);
    assert!(game.fault().message.contains("budget"));
    assert!(
        game.space.len() <= 2,
        "each egg is gone when the next one hatches"
    );
}

#[test]
fn a_memory_bomb_ends_alone_and_leaves_memory_for_the_next_call() {
    for body in [
        "string.rep('x', 1e9)",
        "local s = string.rep('x', 4000000) while true do local t = s .. 'y' end",
        "local t = {} while true do t[#t + 1] = string.rep('x', 100000) .. #t end",
        "local t = {} for i = 1, 1e9 do t[i] = { i } end",
        "table.create(1e8, 1)",
        "buffer.create(1e9)",
        "local s = 'x' while true do s = s .. s end",
        "local t = {} while true do local ok = pcall(function() t[#t + 1] = string.rep('x', 1000000) .. #t end) end",
    ] {
        let mut game = load(&format!(
            "myriad.kind('avatar', {{ commands = {{
                bomb = function(self) {body} end,
                work = function(self)
                    local t = {{}}
                    for i = 1, 100 do t[i] = string.rep('y', 10000) .. i end
                end,
            }} }})"
        ));
        let avatar = game.spawn();
        for _ in 0..3 {
            assert!(game.command(avatar, "bomb", &[]).is_err(), "{body}");
            let message = game.fault().message;
            let told = ["memory", "budget", "table overflow"];
            assert!(told.iter().any(|word| message.contains(word)), "{message}");
            assert!(game.host.memory_bytes() <= ScriptLimits::default().memory_bytes);
            assert_eq!(
                game.command(avatar, "work", &[]),
                Ok(()),
                "{body}: {:?}",
                game.host.take_faults()
            );
        }
    }
}

#[test]
fn garbage_of_many_calls_never_reaches_the_limit() {
    let mut game = load(
        "myriad.kind('avatar', { commands = { run = function(self)
            local t = {}
            for i = 1, 50 do t[i] = string.rep('y', 100000) .. i .. myriad.random() end
        end } })",
    );
    let avatar = game.spawn();
    for _ in 0..200 {
        assert_eq!(game.command(avatar, "run", &[]), Ok(()));
    }
}

#[test]
fn an_error_says_file_line_and_call() {
    let modules = [
        ("main", "require('lib/rules')"),
        (
            "lib/rules",
            "local function deep(self)\n  local x = nil\n  return x.y\nend\nmyriad.kind('dog', {\n  properties = { { name = 'age', type = 'int', max = 20 } },\n  timers = { bark = function(self)\n    self.age = 'old'\n  end },\n  on = { spawned = function(self) self:after('bark', 0.1) end },\n  commands = { deep = deep,\n    far = function(self) self:move_to(0 / 0, 0) end,\n    fast = function(self) self:move_to(1, 1, 99) end,\n    thrown = function(self) error('thrown') end,\n    table = function(self) error({}) end,\n  },\n})",
        ),
    ];
    let mut game = try_load(&modules, ScriptLimits::default()).unwrap();
    let dog = game.spawn();
    let check = |game: &mut Game, command: &str, line: u32, message: &str| {
        assert!(game.command(dog, command, &[]).is_err());
        let fault = game.fault();
        assert_eq!(
            (fault.file.as_str(), fault.line),
            ("lib/rules.luau", line),
            "{fault}"
        );
        assert!(fault.message.contains(message), "{fault}");
        assert_eq!(fault.call, format!("command '{command}' of dog"));
    };
    check(&mut game, "deep", 3, "attempt to index nil with 'y'");
    check(&mut game, "far", 12, "expected a finite number, found NaN");
    check(
        &mut game,
        "fast",
        13,
        "speed 99 m/s is not above 0 and at most 0, the kind's",
    );
    check(&mut game, "thrown", 14, "thrown");
    assert!(game.command(dog, "table", &[]).is_err());
    game.fault();
    game.tick();
    let fault = game.fault();
    assert_eq!(
        (fault.file.as_str(), fault.line),
        ("lib/rules.luau", 8),
        "{fault}"
    );
    assert_eq!(
        fault.message,
        "property 'age': expected a whole number, found string"
    );
    assert_eq!(fault.call, "timer 'bark' of dog");
}

#[test]
fn a_script_that_does_not_load_says_where() {
    let check = |main: &str, line: u32, message: &str| {
        let error = refusal(main);
        assert_eq!((error.file.as_str(), error.line), ("main.luau", line), "{error}");
        assert!(error.message.contains(message), "{error}");
    };
    check("local x =\n\n= 3", 3, "Expected identifier");
    check(
        "\nlocal x = nil + 1",
        2,
        "attempt to perform arithmetic (add) on nil and number",
    );
    check(
        "\n\nrequire('nothing')",
        3,
        "there is no module 'nothing', only main",
    );
    check("require('main')", 1, "module 'main' requires itself in a circle");
    check("myriad.tick()", 1, "there is no space while the scripts load");
    check(
        "\nwhile true do end",
        2,
        "the call used up its budget of 10000000 steps",
    );
    check(
        "local t = {}\nwhile true do t[#t + 1] = string.rep('x', 1000000) .. #t end",
        0,
        "memory",
    );
}

#[test]
fn an_error_in_a_required_module_is_that_modules() {
    let modules = [
        ("main", "require('a')"),
        ("a", "\nrequire('b')"),
        ("b", "\n\nerror('b is bad')"),
    ];
    let error = try_load(&modules, ScriptLimits::default()).err().unwrap();
    assert_eq!(
        (error.file.as_str(), error.line, error.message.as_str()),
        ("b.luau", 3, "b is bad")
    );
    let error = try_load(&[], ScriptLimits::default()).err().unwrap();
    assert!(error.message.contains("there is no module 'main'"), "{error}");
}

#[test]
fn nothing_is_declared_or_required_once_the_game_runs() {
    for body in [
        "myriad.kind('late', {})",
        "myriad.on_start(function() end)",
        "require('main')",
    ] {
        let (mut game, result) = run(body);
        assert!(result.is_err());
        assert!(game.fault().message.contains("while the scripts load"));
    }
}

#[test]
fn the_same_seed_gives_the_same_game_and_another_seed_another() {
    let main = "myriad.kind('avatar', { properties = { { name = 'luck', type = 'float' } }, commands = {
        roll = function(self)
            self.luck = myriad.random() + math.random(6)
            print(self.luck, myriad.random(-3, 3), {}, print, self, coroutine.create(print), pcall(error, {}))
            local names = {}
            for name in { b = 1, a = 2, c = 3, [self] = 4 } do table.insert(names, tostring(name)) end
            print(table.concat(names, ' '))
        end } })";
    let play = |seed| {
        let mut game = load_seeded(&[("main", main)], ScriptLimits::default(), seed, &[]).unwrap();
        let avatar = game.spawn();
        for _ in 0..20 {
            game.command(avatar, "roll", &[]).unwrap();
        }
        (game.lines(), game.property(avatar, "luck"))
    };
    assert_eq!(play(1), play(1));
    assert_ne!(play(1), play(2));
    assert!(
        play(1).0[0].contains("table function avatar 0.0 thread false table"),
        "{:?}",
        play(1).0[0]
    );
}

#[test]
fn random_numbers_stay_in_their_ranges() {
    let (mut game, result) = run("for i = 1, 5000 do
            local u, die, wide = myriad.random(), myriad.random(6), math.random(-2, 2)
            assert(u >= 0 and u < 1)
            assert(die >= 1 and die <= 6 and die % 1 == 0)
            assert(wide >= -2 and wide <= 2 and wide % 1 == 0)
        end
        assert(myriad.random(3, 3) == 3)
        assert(not pcall(myriad.random, 3, 2))
        assert(not pcall(myriad.random, 0 / 0, 2))
        assert(not pcall(myriad.random, 1e300))");
    assert_eq!(result, Ok(()), "{:?}", game.host.take_faults());
}

#[test]
fn faults_and_lines_are_bounded_and_counted() {
    let (mut game, _) = run("for i = 1, 1000 do print(string.rep('x', 5000)) end error('end')");
    let avatar = game.space.handles().next().unwrap();
    for _ in 0..99 {
        let _ = game.command(avatar, "run", &[]);
    }
    let (faults, more) = game.host.take_faults();
    assert_eq!(faults.len() as u64 + more, 100);
    let (lines, more) = game.host.take_lines();
    assert_eq!((lines.len(), lines.len() as u64 + more), (256, 100_000));
    assert!(lines[0].len() < 1100 && lines[0].ends_with('…'));
}

#[test]
fn constants_of_the_game_are_read_only_values() {
    let constants = [
        ("npcs".to_owned(), Value::Int(3)),
        ("motto".to_owned(), Value::Text("hi".to_owned())),
        ("open".to_owned(), Value::Bool(true)),
        ("gravity".to_owned(), Value::Float(9.81)),
    ];
    let main = "local g = myriad.game
        assert(g.npcs == 3 and g.motto == 'hi' and g.open == true and g.gravity == 9.81 and g.other == nil)";
    assert!(load_seeded(&[("main", main)], ScriptLimits::default(), 1, &constants).is_ok());
}
