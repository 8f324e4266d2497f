//! The rows of `myriad-bench crowd-table`: fixed command lines, each of which can be run by itself.

/// A row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// Names the row and its files.
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) kind: Kind,
}

/// What is run for a row, and what must come of it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// It passes all its checks.
    Passes(&'static str),
    /// The check of this name fails: a fault was planted.
    Finds(&'static str, &'static [&'static str]),
    /// Some pairs of runs, without and with, of which the median difference counts.
    Pairs {
        pairs: u32,
        without: &'static str,
        with: &'static str,
        compare: Compare,
    },
}

/// What is compared between a pair's runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compare {
    /// The 99th percentile of the other clients' staleness: at most 10 % or 20 ms more. And the server's memory: no
    /// more than the slow clients' bounded backlogs on top.
    Slow { clients: u32 },
    /// The server's CPU time for each client: at most 1.25 times as much.
    CpuPerClient,
}

pub(super) const ROWS: [Row; 16] = [
    Row {
        name: "crowd-10k-2.5hz",
        title: "10,000 clients at 2.5 Hz",
        kind: Kind::Passes("crowd --clients 10000 --entities 10000 --hz 2.5 --seconds 30 --decode interned"),
    },
    Row {
        name: "crowd-5k-own",
        title: "5,000 clients at 5 Hz, each decoding by itself",
        kind: Kind::Passes("crowd --clients 5000 --entities 10000 --hz 5 --seconds 30 --decode own"),
    },
    Row {
        name: "crowd-10k-5hz",
        title: "10,000 clients at 5 Hz (aim)",
        kind: Kind::Passes("crowd --clients 10000 --entities 10000 --hz 5 --seconds 30 --decode interned"),
    },
    Row {
        name: "crowd-1k-5hz",
        title: "1,000 clients at 5 Hz",
        kind: Kind::Passes("crowd --clients 1000 --entities 10000 --hz 5 --seconds 30 --decode interned"),
    },
    Row {
        name: "loss",
        title: "1,000 clients, 2 % loss and 80 ms each way",
        kind: Kind::Passes(
            "crowd --clients 1000 --entities 10000 --hz 5 --seconds 30 --decode interned --loss 2 --delay 80",
        ),
    },
    Row {
        name: "loss-5",
        title: "1,000 clients, 5 % loss and 80 ms each way",
        kind: Kind::Passes(
            "crowd --clients 1000 --entities 10000 --hz 5 --seconds 30 --decode interned --loss 5 --delay 80",
        ),
    },
    Row {
        name: "slow",
        title: "100 slow clients among 2,000",
        kind: Kind::Pairs {
            pairs: 5,
            without: "crowd --clients 2000 --entities 10000 --hz 5 --seconds 30 --decode interned",
            with: "crowd --clients 2000 --entities 10000 --hz 5 --seconds 30 --decode interned --slow 100",
            compare: Compare::Slow { clients: 100 },
        },
    },
    Row {
        name: "churn",
        title: "100 of 2,000 clients replaced every second",
        kind: Kind::Passes(
            "crowd --clients 2000 --entities 10000 --hz 2.5 --seconds 60 --decode interned --churn 100",
        ),
    },
    Row {
        name: "spread",
        title: "2,000 clients on 2 km x 2 km",
        kind: Kind::Passes("spread --hz 5 --seconds 30"),
    },
    Row {
        name: "spread-dense",
        title: "2,000 clients on 600 m x 600 m",
        kind: Kind::Passes("spread --dense --hz 2.5 --seconds 30 --decode interned"),
    },
    Row {
        name: "rebind",
        title: "4 shards, each client's address changes once",
        kind: Kind::Passes(
            "crowd --clients 1000 --entities 10000 --hz 5 --seconds 30 --decode interned --shards 4 --sockets 64 --rebind",
        ),
    },
    Row {
        name: "cpu-per-client",
        title: "CPU per client: 10,000 clients against 1,000",
        kind: Kind::Pairs {
            pairs: 1,
            without: "crowd --clients 1000 --entities 10000 --hz 2.5 --seconds 30 --decode interned",
            with: "crowd --clients 10000 --entities 10000 --hz 2.5 --seconds 30 --decode interned",
            compare: Compare::CpuPerClient,
        },
    },
    Row {
        name: "luacluster",
        title: "1,000 clients and 10,000 entities, walking as luacluster's do",
        kind: Kind::Passes(
            "crowd --clients 1000 --entities 10000 --hz 5 --seconds 30 --decode interned --motion luacluster",
        ),
    },
    Row {
        name: "plant-decoder",
        title: "A planted decoder bug is found",
        kind: Kind::Finds(
            "crowd --clients 300 --entities 3000 --hz 5 --seconds 10 --plant decoder",
            &["codec_near", "codec_crowd", "decode_differences"],
        ),
    },
    Row {
        name: "plant-skip",
        title: "A planted skipped update is found",
        kind: Kind::Finds(
            "crowd --clients 300 --entities 3000 --hz 5 --seconds 10 --plant skip",
            &[
                "codec_near",
                "codec_crowd",
                "decode_differences",
                "coverage_min",
                "staleness_near_p99",
                "staleness_all_p99",
                "inconsistent",
            ],
        ),
    },
    Row {
        name: "plant-double",
        title: "A planted doubled enter is found",
        kind: Kind::Finds(
            "crowd --clients 300 --entities 3000 --hz 5 --seconds 10 --plant double",
            &["doubled"],
        ),
    },
];
