use super::*;
use serde_json::json;

/// A run with invented figures, as it could be.
fn invented() -> Value {
    let wave = |second: u32, size: f64| size * (1.0 + 0.08 * f64::from(second * 7 % 11) / 11.0);
    let seconds: Vec<_> = (0..30)
        .map(|second| {
            json!({
                "second": second,
                "staleness_near": {"p50": wave(second, 118.0), "p99": wave(second, 231.0)},
                "staleness_all": if second == 12 { Value::Null } else {
                    json!({"p50": wave(second, 410.0), "p99": wave(second, 930.0)})
                },
                "bytes": {"near": 2900.0, "crowd_state": wave(second, 8400.0), "crowd_membership": 610.0, "own": 210.0},
                "cores": {"server": wave(second, 0.93), "bots_net": wave(second, 0.61), "bots_decode": 0.09,
                          "bots_verify": wave(second, 0.21)},
                "server_rss_mib": 810.0 + f64::from(second) / 10.0,
            })
        })
        .collect();
    let distances: Vec<_> = (1..=14)
        .map(|ring| {
            let metres = f64::from(ring) * 10.0;
            json!({"metres": metres, "pairs": 1000, "staleness_mean": 110.0 + metres * 4.0,
                   "staleness_p99": 240.0 + metres * 6.0, "shown_mean": 0.02 + metres / 900.0,
                   "shown_p99": 0.08 + metres / 260.0})
        })
        .collect();
    json!({
        "schema": 1, "command": "myriad-bench crowd --clients 10000 --entities 10000 --hz 5", "commit": "0123456789abcdef01",
        "dirty": false, "machine": "bench, 2 CPUs", "cpu": "A & B <CPU>", "kernel": "6.1", "rustc": "rustc 1.95",
        "seconds": 30.0, "seed": 1, "clients": 10_000, "entities": 10_000, "hz": 5.0, "decode": "interned",
        "motion": "mixed", "coverage_min": 1.0, "clients_lost": 0, "updates_per_s": 1.23e8, "all_covered_s": 11.4,
        "updates_per_server_cpu_s": 1.32e8, "cpu_us_per_client_s": 93.2, "server_rss_per_client_kib": 83.1,
        "staleness_ms": {"near": {"p50": 121.0, "p99": 236.0, "max": 410.0}, "all": {"p50": 420.0, "p99": 941.0, "max": 1500.0}},
        "shown_error_m": {"near": {"p99": 0.09}, "all": {"p99": 0.48}},
        "bytes_per_client_s": {"total": 13400.0, "near": 2900.0, "crowd_state": 8400.0, "crowd_membership": 610.0,
                               "crowd_keyframe": 180.0, "identity": 320.0, "own": 210.0, "transport": 780.0},
        "stages_cpu_s": {"lane_ingress": 0.9, "lane_scripts": 2.1, "lane_encode": 3.8, "gateway_assemble": 6.4, "edge_send": 13.6},
        "cpu_s": {"server": 28.1, "bots_net": 18.3, "bots_decode": 2.7, "bots_verify": 6.3},
        "passed": false, "server_configuration": "space.hz = 5.0\n",
        "verdict": [{"name": "coverage_min", "passed": true, "detail": "1.0000, at least 1.0000"},
                    {"name": "overruns", "passed": false, "detail": "0.0020, at most 0.0010"}],
        "series": {"seconds": seconds, "distances": distances},
    })
}

/// Panics where a tag is closed that is not open, or stays open.
fn check_well_formed(page: &str) {
    let page = page.strip_prefix("<!doctype html>").expect("a page");
    let (before, style) = page.split_once("<style>").expect("a style");
    let (_, after) = style.split_once("</style>").expect("its end");
    let mut open = Vec::new();
    for part in format!("{before}{after}").split('<').skip(1) {
        let (tag, text) = part.split_once('>').expect("every tag ends");
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        assert!(!text.contains('>'), "{text}");
        for entity in text.split('&').skip(1) {
            let known = ["amp;", "lt;", "gt;", "quot;"]
                .iter()
                .any(|known| entity.starts_with(known));
            assert!(known, "&{entity}");
        }
        let name = tag
            .split(|c: char| c.is_whitespace())
            .next()
            .unwrap_or_default()
            .to_owned();
        match name.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop().as_deref(), Some(name)),
            None if tag.ends_with('/') => {}
            None => open.push(name),
        }
    }
    assert!(open.is_empty(), "{open:?} are never closed");
}

#[test]
fn a_page_is_well_formed_and_holds_everything_by_itself() {
    let page = page(&invented()).expect("a page");
    check_well_formed(&page);
    assert!(!page.contains("<script") && !page.contains("http") && !page.contains("NaN"));
    // For the eye: MYRIAD_PAGE=page.html cargo test -p myriad-harness --lib html
    if let Some(file) = std::env::var_os("MYRIAD_PAGE") {
        std::fs::write(file, page).expect("written where it was asked for");
    }
}

#[test]
fn figures_titles_and_checks_are_on_it() {
    let page = page(&invented()).expect("a page");
    for text in [
        "10,000 clients among 10,000 entities at 5 Hz",
        "myriad-bench crowd --clients 10000",
        "commit 0123456789ab ",
        "A &amp; B &lt;CPU&gt;",
        "<b>236 ms</b>",
        "<b>132.0 million </b>",
        "<b>13.4 kB/s</b>",
        "8400 B/s",
        "Staleness over time",
        "Staleness by distance",
        "Shown error by distance",
        "Bytes by kind",
        "edge send",
        "453 ms/s",
        "Memory over time",
        "<td class=\"bad\">FAILED</td><td>0.0020, at most 0.0010</td>",
        "<td class=\"good\">passed</td>",
        "verdict bad",
        "space.hz = 5.0",
    ] {
        assert!(page.contains(text), "{text}");
    }
    assert_eq!(page.matches("<figure>").count(), 9);
}

#[test]
fn a_run_of_which_little_is_known_has_no_plots_but_a_page() {
    let page = page(&json!({"clients": 1})).expect("a page");
    check_well_formed(&page);
    assert_eq!(page.matches("<figure>").count(), 0);
    assert!(page.contains("1 clients among ? entities"));
}
