//! A run as a page for people: one file with everything in it, drawn from the run's JSON.
//!
//! It reads the JSON's keys, and not the types behind them, so that a recorded run can be drawn again. What was not
//! measured has no plot.

mod plot;

use crate::series::{Ring, Second, Series, Spread};
use anyhow::{Context, Result};
use plot::{Curve, Part, figure};
use serde_json::Value;
use std::fmt::Write as _;

const STYLE: &str = include_str!("style.css");
const FITS: &str = "a String takes everything";

/// The page of a recorded run.
///
/// # Errors
/// If its series are none.
pub fn page(run: &Value) -> Result<String> {
    let series: Series = match run.get("series") {
        Some(series) => serde_json::from_value(series.clone()).context("the run's series")?,
        None => Series::default(),
    };
    let title = title(run);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<title>{}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n",
        escaped(&title)
    );
    head(&mut page, run, &title);
    tiles(&mut page, run);
    page.push_str("<div class=\"plots\">\n");
    over_time(&mut page, &series.seconds);
    over_distance(&mut page, &series.distances);
    costs(&mut page, run, &series.seconds);
    page.push_str("</div>\n");
    checks(&mut page, run);
    if let Some(configuration) = word(run, "/server_configuration") {
        writeln!(
            page,
            "<details class=\"wide\"><summary>The server's configuration</summary><pre>{}</pre></details>",
            escaped(configuration)
        )
        .expect(FITS);
    }
    page.push_str("</body>\n</html>\n");
    Ok(page)
}

fn title(run: &Value) -> String {
    let count = |key| number(run, key).map_or("?".into(), thousands);
    format!(
        "{} clients among {} entities at {} Hz",
        count("/clients"),
        count("/entities"),
        number(run, "/hz").map_or("?".into(), figure)
    )
}

fn head(page: &mut String, run: &Value, title: &str) {
    let badge = match run.get("passed").and_then(Value::as_bool) {
        Some(true) => r#" <span class="verdict good">passed</span>"#,
        Some(false) => r#" <span class="verdict bad">failed</span>"#,
        None => "",
    };
    let say = |key| escaped(word(run, key).unwrap_or("?"));
    let commit: String = say("/commit").chars().take(12).collect();
    let dirty = match run.get("dirty").and_then(Value::as_bool) {
        Some(true) => " with changes",
        _ => "",
    };
    write!(
        page,
        "<h1>{}{badge}</h1>\n<div class=\"muted\">Measured at the receiving clients · {} s, motion {}, decoding {}, \
         seed {}<br/>commit {commit}{dirty} · {} ({}) · Linux {} · {}</div>\n<pre>{}</pre>\n",
        escaped(title),
        number(run, "/seconds").map_or("?".into(), figure),
        say("/motion"),
        say("/decode"),
        number(run, "/seed").map_or("?".into(), |seed| seed.to_string()),
        say("/machine"),
        say("/cpu"),
        say("/kernel"),
        say("/rustc"),
        say("/command"),
    )
    .expect(FITS);
}

/// The figures that people ask for first: the key, its scale, its unit and what it is.
const TILES: [(&str, f64, &str, &str); 12] = [
    ("/coverage_min", 1.0, "", "coverage, worst client and second"),
    ("/staleness_ms/near/p99", 1.0, "ms", "staleness near, p99"),
    ("/staleness_ms/all/p99", 1.0, "ms", "staleness all, p99"),
    ("/shown_error_m/near/p99", 1.0, "m", "shown error near, p99"),
    ("/shown_error_m/all/p99", 1.0, "m", "shown error all, p99"),
    ("/clients_lost", 1.0, "", "clients lost"),
    ("/all_covered_s", 1.0, "s", "until all saw everything"),
    ("/updates_per_s", 1.0, "", "updates per second"),
    (
        "/updates_per_server_cpu_s",
        1.0,
        "",
        "updates per server CPU second",
    ),
    (
        "/bytes_per_client_s/total",
        1e-3,
        "kB/s",
        "received by each client",
    ),
    ("/cpu_us_per_client_s", 1.0, "µs/s", "server CPU for each client"),
    (
        "/server_rss_per_client_kib",
        1.0,
        "KiB",
        "server memory for each client",
    ),
];

fn tiles(page: &mut String, run: &Value) {
    page.push_str("<div class=\"tiles\">\n");
    for (key, scale, unit, what) in TILES {
        if let Some(found) = number(run, key) {
            writeln!(
                page,
                "<div class=\"tile\"><b>{} {unit}</b><span class=\"muted\">{what}</span></div>",
                figure(found * scale)
            )
            .expect(FITS);
        }
    }
    page.push_str("</div>\n");
}

fn over_time(page: &mut String, seconds: &[Second]) {
    let curve = |name, colour, dashed, of: &dyn Fn(&Second) -> Option<f64>| Curve {
        name,
        colour,
        dashed,
        points: seconds
            .iter()
            .map(|row| (f64::from(row.second), of(row)))
            .collect(),
    };
    let p50 = |spread: Option<Spread>| Some(spread?.p50);
    let p99 = |spread: Option<Spread>| Some(spread?.p99);
    let staleness = [
        curve("near p50", 0, false, &|row| p50(row.staleness_near)),
        curve("near p99", 0, true, &|row| p99(row.staleness_near)),
        curve("all p50", 1, false, &|row| p50(row.staleness_all)),
        curve("all p99", 1, true, &|row| p99(row.staleness_all)),
    ];
    let told =
        "Now less the due time of the tick last decoded, over every client and every entity in its view.";
    draw(
        page,
        "Staleness over time",
        told,
        plot::curves(&staleness, "seconds", "ms"),
    );
    let cores = [
        curve("server", 0, false, &|row| row.cores.server),
        curve("bots", 1, false, &|row| row.cores.bots_net),
        curve("decoding", 2, false, &|row| row.cores.bots_decode),
        curve("checks", 3, false, &|row| row.cores.bots_verify),
        curve("relay", 4, false, &|row| row.cores.relay),
    ];
    let told = "As many cores were busy: the server's process, and the bots' by what they did.";
    draw(
        page,
        "CPU over time",
        told,
        plot::curves(&cores, "seconds", "cores"),
    );
    let bytes = [curve("received", 0, false, &|row| {
        Some(row.bytes.total() / 1000.0).filter(|bytes| *bytes > 0.0)
    })];
    let told = "What one client received in each second, on average.";
    draw(
        page,
        "Bytes over time",
        told,
        plot::curves(&bytes, "seconds", "kB/s"),
    );
    let memory = [curve("server", 0, false, &|row| row.server_rss_mib)];
    let told = "Resident memory of the server's process.";
    draw(
        page,
        "Memory over time",
        told,
        plot::curves(&memory, "seconds", "MiB"),
    );
}

fn over_distance(page: &mut String, rings: &[Ring]) {
    let curve = |name, dashed, of: fn(&Ring) -> Option<f64>| Curve {
        name,
        colour: if dashed { 1 } else { 0 },
        dashed,
        points: rings.iter().map(|ring| (ring.metres, of(ring))).collect(),
    };
    let staleness = [
        curve("mean", false, |ring| ring.staleness_mean),
        curve("p99", true, |ring| ring.staleness_p99),
    ];
    let told = "Of subjects up to so far from their observer.";
    draw(
        page,
        "Staleness by distance",
        told,
        plot::curves(&staleness, "metres", "ms"),
    );
    let shown = [
        curve("mean", false, |ring| ring.shown_mean),
        curve("p99", true, |ring| ring.shown_p99),
    ];
    let told = "Between what a client shows and the truth at the time that it says it shows.";
    draw(
        page,
        "Shown error by distance",
        told,
        plot::curves(&shown, "metres", "m"),
    );
}

/// The kinds of bytes, by their keys.
const KINDS: [(&str, &str); 7] = [
    ("near", "near"),
    ("crowd_state", "crowd, states"),
    ("crowd_membership", "crowd, membership"),
    ("crowd_keyframe", "crowd, keyframes"),
    ("identity", "identity, events, own properties"),
    ("own", "own record"),
    ("transport", "QUIC"),
];

fn costs(page: &mut String, run: &Value, seconds: &[Second]) {
    let kinds = KINDS.iter().filter_map(|(key, name)| {
        let size = number(run, &format!("/bytes_per_client_s/{key}"))?;
        Some(Part {
            name: (*name).into(),
            size,
        })
    });
    let told = "What one client received in a second, on average.";
    let kinds: Vec<Part> = kinds.collect();
    draw(page, "Bytes by kind", told, plot::stack(&kinds, "B/s"));
    let measured_s = number(run, "/seconds").filter(|seconds| *seconds > 0.0);
    let stages = run.get("stages_cpu_s").and_then(Value::as_object);
    if let (Some(stages), Some(measured_s)) = (stages, measured_s) {
        let mut stages: Vec<Part> = stages
            .iter()
            .filter_map(|(name, cpu)| {
                let size = cpu.as_f64()? * 1000.0 / measured_s;
                Some(Part {
                    name: name.replace('_', " "),
                    size,
                })
            })
            .collect();
        stages.sort_by(|a, b| b.size.total_cmp(&a.size));
        let told = "Milliseconds in each second of the run, as the server counts them.";
        draw(
            page,
            "The server's time by stage",
            told,
            plot::bars(&stages, "ms/s"),
        );
    }
    let spent = [
        ("server", "/cpu_s/server"),
        ("bots, network", "/cpu_s/bots_net"),
        ("bots, decoding", "/cpu_s/bots_decode"),
        ("bots, checks", "/cpu_s/bots_verify"),
        ("relay (whole run)", "/relay/cpu_s"),
    ];
    let spent: Vec<Part> = spent
        .iter()
        .filter_map(|(name, key)| {
            Some(Part {
                name: (*name).into(),
                size: number(run, key)?,
            })
        })
        .collect();
    let told = format!(
        "CPU seconds while measuring, all on the same machine{}.",
        if seconds.is_empty() {
            ""
        } else {
            "; over time above"
        }
    );
    draw(page, "CPU by process", &told, plot::bars(&spent, "s"));
}

fn draw(page: &mut String, title: &str, told: &str, plot: Option<String>) {
    if let Some(plot) = plot {
        writeln!(
            page,
            "<figure><h2>{title}</h2><p class=\"muted\">{told}</p>{plot}</figure>"
        )
        .expect(FITS);
    }
}

fn checks(page: &mut String, run: &Value) {
    let Some(checks) = run.get("verdict").and_then(Value::as_array) else {
        return;
    };
    page.push_str(
        "<div class=\"wide\"><h2>Checks</h2><table><tr><th>check</th><th></th><th>found</th></tr>\n",
    );
    for check in checks {
        let (class, outcome) = match check["passed"].as_bool() {
            Some(true) => ("good", "passed"),
            _ => ("bad", "FAILED"),
        };
        let say = |key: &str| escaped(check[key].as_str().unwrap_or("?"));
        writeln!(
            page,
            "<tr><td>{}</td><td class=\"{class}\">{outcome}</td><td>{}</td></tr>",
            say("name"),
            say("detail")
        )
        .expect(FITS);
    }
    page.push_str("</table></div>\n");
}

fn number(run: &Value, key: &str) -> Option<f64> {
    run.pointer(key)?.as_f64()
}

fn word<'a>(run: &'a Value, key: &str) -> Option<&'a str> {
    run.pointer(key)?.as_str()
}

fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut told = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            told.push(',');
        }
        told.push(digit);
    }
    told
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests;
