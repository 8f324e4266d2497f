//! Figures that come of counts by hand.

use super::*;
use crate::bot::BotCounts;
use crate::options::AdminServer;
use crate::options::Trust;
use crate::sample::{CodecErrors, CoverageCounts};
use crate::stage;
use myriad_client::quic::Fingerprint;
use myriad_wire::Pos;
use std::net::{Ipv4Addr, SocketAddr};

pub(crate) fn options() -> BotsOptions {
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let mut options = BotsOptions::new(server, Trust::Fingerprint(Fingerprint([0; 32])));
    options.clients = 2;
    options.truth = vec![AdminServer {
        url: "http://x".into(),
        token: None,
    }];
    options
}

fn outcome() -> Outcome {
    let coverage = CoverageCounts {
        min: 1.0,
        fresh: 2000,
        pairs: 2000,
    };
    Outcome {
        join_s: Some(0.25),
        covered_s: Some(0.5),
        covered_at_s: Some(1.5),
        slow: false,
        churned: false,
        lost: None,
        counts: BotCounts {
            entered: 10,
            intents_sent: 100,
            obedience_checked: 100,
            coverage: Some(coverage),
            in_view_max: 10,
            ..BotCounts::default()
        },
        refusals: Vec::new(),
        measured: Some(Measured {
            at_us: 10_000_000,
            bytes: ByteCounters {
                near: 5000,
                crowd: 3000,
                own: 1000,
                view: 500,
                messages: 100,
                ..ByteCounters::default()
            },
            states: 2000,
            udp_bytes: 12_000,
            udp_received: 150,
            udp_sent: 100,
        }),
    }
}

/// What a faultless run of two clients finds in 10 s.
pub(crate) fn found(options: &BotsOptions) -> Found<'_> {
    let mut tally = Tally {
        codec: CodecErrors {
            near: 8,
            compared: 4000,
            ..CodecErrors::default()
        },
        client_ticks: 200,
        pairs: 4000,

        properties: 50,
        verify_ns: 500_000_000,
        decode_ns: 250_000_000,
        ..Tally::default()
    };
    tally.all_ms.record(52.5, 4000);
    tally.near_ms.record(52.5, 4000);
    tally.shown_all.record(30.0, 100);
    let mut trace = Trace {
        speeds: [Some(Percentiles {
            p50: 3.5,
            p99: 5.0,
            max: 5.0,
        }); 2],
        entities: 10,
        ..Trace::default()
    };
    trace.stats.told = 100;
    Found {
        header: Header::collect(10.0),
        options,
        joined: Some(stage::joined(Pos::default())),
        seconds: 10.0,
        outcomes: vec![outcome(), outcome()],
        tally,
        slow: Tally::default(),
        server: None,
        rows: Vec::new(),
        trace: Some(trace),
        spent: Spent {
            server_s: Some(2.0),
            bots_s: 3.0,
            truth_s: 0.25,
            server_rss_mib: Some(100.0),
            bots_rss_mib: 50.0,
        },
    }
}

#[test]
fn rates_and_shares_are_per_client_and_second() {
    let options = options();
    let report = report(found(&options));
    assert_eq!(report.updates_per_s, 400.0);
    assert_eq!(report.updates_per_server_cpu_s, Some(2000.0));
    assert_eq!(report.cpu_us_per_client_s, Some(100_000.0));
    assert_eq!((report.cpu_s.bots_net, report.cpu_s.bots_verify), (2.25, 0.75));
    assert_eq!(report.sampled.client_ticks_share, 1.0);
    assert_eq!(
        (report.coverage_min, report.coverage_mean),
        (Some(1.0), Some(1.0))
    );
    assert_eq!(report.server_rss_per_client_kib, Some(51_200.0));
    let bytes = report.bytes_per_client_s;
    assert_eq!(
        (bytes.total, bytes.near, bytes.crowd_state),
        (1200.0, 500.0, 300.0)
    );
    assert_eq!((bytes.identity, bytes.own, bytes.transport), (60.0, 100.0, 240.0));
    assert_eq!(
        report.datagrams,
        Datagrams {
            sent: 200,
            received: 300
        }
    );
}

#[test]
fn a_client_that_was_lost_or_never_came_covers_nothing() {
    let options = options();
    let mut one_lost = found(&options);
    one_lost.outcomes[0].lost = Some("flood".into());
    let lost = report(one_lost);
    assert_eq!((lost.coverage_min, lost.clients_lost), (Some(0.0), 1));
    assert_eq!(lost.lost_reasons, [("flood".to_owned(), 1)]);
    let mut one_absent = found(&options);
    one_absent.outcomes[1] = Outcome {
        lost: Some("not joined in time".into()),
        ..Outcome::default()
    };
    assert_eq!(report(one_absent).coverage_min, Some(0.0));
}

#[test]
fn the_json_has_the_keys_of_every_measuring_command() {
    let options = options();
    let json = serde_json::to_value(report(found(&options))).expect("it serialises");
    for key in [
        "schema",
        "command",
        "commit",
        "dirty",
        "machine",
        "cpu",
        "kernel",
        "rustc",
        "started",
        "seconds",
        "clients",
        "entities",
        "hz",
        "decode",
        "motion",
        "coverage_min",
        "coverage_mean",
        "clients_lost",
        "corrections",
        "intents_lost",
        "updates_per_s",
        "updates_per_server_cpu_s",
        "cpu_us_per_client_s",
        "server_rss_per_client_kib",
    ] {
        assert!(!json[key].is_null(), "{key}");
    }
    for path in [
        "/staleness_ms/near/p50",
        "/staleness_ms/all/p99",
        "/staleness_ms/all/max",
        "/codec_error_m/near",
        "/codec_error_m/crowd",
        "/shown_error_m/all/p99",
        "/join_s/p50",
        "/join_s/max",
        "/bytes_per_client_s/total",
        "/bytes_per_client_s/near",
        "/bytes_per_client_s/crowd_state",
        "/bytes_per_client_s/crowd_membership",
        "/bytes_per_client_s/crowd_keyframe",
        "/bytes_per_client_s/identity",
        "/bytes_per_client_s/own",
        "/bytes_per_client_s/transport",
        "/datagrams/sent",
        "/datagrams/received",
        "/cpu_s/server",
        "/cpu_s/bots_net",
        "/cpu_s/bots_decode",
        "/cpu_s/bots_verify",
        "/ticks/told",
        "/rss_mib/server",
        "/rss_mib/bots",
        "/views/entered",
        "/views/left",
        "/views/missing",
        "/views/doubled",
        "/views/late",
        "/checks/disobeyed",
    ] {
        assert!(
            json.pointer(path).is_some_and(|value| value.is_number()),
            "{path}"
        );
    }
    assert_eq!(json["motion"], "mixed");
}

#[test]
fn what_was_not_measured_is_absent_from_the_json() {
    let mut options = options();
    options.truth.clear();
    let mut found = found(&options);
    found.trace = None;
    found.spent.server_s = None;
    found.tally = Tally::default();
    let json = serde_json::to_value(report(found)).expect("it serialises");
    for key in [
        "coverage_min",
        "codec_error_m",
        "shown_error_m",
        "checks",
        "ticks",
    ] {
        assert!(json.get(key).is_none(), "{key}");
    }
    assert!(json["cpu_s"].get("server").is_none());
}

#[test]
fn people_are_told_the_same() {
    let options = options();
    let text = report(found(&options)).to_string();
    for part in [
        "2 clients, 10 entities, 10 Hz",
        "worst client and second 1.0000",
        "staleness  all p50 52",
        "0 lost",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}
