//! What can be asked of `myriad-bench cluster`.

use super::args::{CROWD_M, Cut, Plan, RunArgs, SPREAD_SIDES_M, SpreadArgs, Views};
use super::relayout::{self, Relayout};
use crate::cluster::{CELLS_MAX, ClusterSize};
use crate::options::Decode;
use anyhow::Result;
use clap::{Args, ValueEnum};

/// Side of the square of `cluster --case handoff`, and how far avatars see there, in metres.
const HANDOFF_SIDE_M: f64 = 400.0;
const HANDOFF_RADIUS_M: f64 = 5.0;
/// How long a round of `cluster --case split` or `move` may take, in seconds.
const ROUND_S: f64 = 30.0;
/// The game of the shuttles.
const SHUTTLE: &str = include_str!("../../scripts/shuttle/main.luau");
/// `myriad-bench cluster`: one world on many processes.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  2,000 clients among 20,000 entities on three nodes with three cells each, behind two gateways: every enter and leave
  at every client compared with the truth, and every hand-off between nodes
      myriad-bench cluster --case wander --seconds 60 --json wander.json

  5,000 shuttles between two nodes, watched by two clients
      myriad-bench cluster --case handoff --hz 10 --seconds 20

  What a lane costs where 10,000 in one view are shared by 1, 2 and 4 of them
      myriad-bench cluster --case lane-cost --seconds 10

  2,000 clients in one view whose cell gets two lanes, four, and one again, 20 times
      myriad-bench cluster --case split --json split.json

  A lane of 5,000 entities that moves to another node, 20 times
      myriad-bench cluster --case move

  A small walk
      myriad-bench cluster --case wander --clients 200 --entities 2000 --side 600 --seconds 10")]
pub struct ClusterArgs {
    /// What is measured.
    #[arg(long, value_enum)]
    pub(super) case: ClusterCase,
    #[command(flatten)]
    pub(super) run: RunArgs,
    /// Real clients, each with its own connection, keys and login [default: 2000; handoff: 2, lane-cost and
    /// frame-bytes: 20, move: 200].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) clients: Option<u32>,
    /// Entities in the square, the clients' avatars among them; the server moves the others [default: 20000; handoff
    /// and move: 5000, split: 4000, lane-cost and frame-bytes: 10000].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) entities: Option<u32>,
    /// Side of the square in metres [default: 2000; handoff: 400, all others but wander: 100].
    #[arg(long, value_name = "METRES")]
    pub(super) side: Option<f64>,
    /// Nodes with lanes; the square is cut into as many rows and columns of cells [default: 3; handoff: 2]. For
    /// split and move, where the space is one cell: 2.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(CELLS_MAX)))]
    pub(super) cells: Option<u32>,
    /// Nodes that hold client connections [default: 2; handoff, split and move: 1].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=32))]
    pub(super) gateways: Option<u32>,
    /// How often the lanes are changed and back, or moved, in split and move; --seconds is then how long that may take at
    /// most, at least 30 s a round.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) rounds: u32,
}

/// What `myriad-bench cluster` measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ClusterCase {
    /// Everybody walks across all borders, and all views are compared with the truth.
    Wander,
    /// Shuttles with some 500 bytes of state go to and fro between two nodes: what a hand-off costs.
    Handoff,
    /// A crowd in one view, whose lanes become two, four and one again.
    Split,
    /// A crowd in one view, whose lane moves from node to node.
    Move,
    /// A walking crowd in one view on 1, 2 and 4 lanes: what each of the lanes costs.
    LaneCost,
    /// A walking crowd in one view: what its frames are made of.
    FrameBytes,
}

impl Plan {
    /// # Errors
    /// If the arguments make no sense, with what to do about it.
    pub(super) fn cluster(args: &ClusterArgs) -> Result<Self> {
        let usual = match args.case {
            ClusterCase::Wander => (2_000, 20_000, SPREAD_SIDES_M.0, 3, 2),
            ClusterCase::Handoff => (2, 5_000, HANDOFF_SIDE_M, 2, 1),
            ClusterCase::Split => (2_000, 4_000, CROWD_M.0, 2, 1),
            ClusterCase::Move => (200, 5_000, CROWD_M.0, 2, 1),
            ClusterCase::LaneCost | ClusterCase::FrameBytes => (20, 10_000, CROWD_M.0, 1, 1),
        };
        let spread = SpreadArgs {
            run: args.run.clone(),
            dense: false,
            clients: args.clients.unwrap_or(usual.0),
            entities: args.entities.unwrap_or(usual.1),
            side: Some(args.side.unwrap_or(usual.2)),
            cut: Cut::default(),
        };
        let size = ClusterSize {
            cells: args.cells.unwrap_or(usual.3),
            gateways: args.gateways.unwrap_or(usual.4),
        };
        let plan = Self {
            cluster: Some(size),
            ..Self::spread(&spread)?
        };
        Ok(match args.case {
            ClusterCase::Wander => plan,
            ClusterCase::Handoff => Self {
                radius_m: HANDOFF_RADIUS_M,
                game: Some(SHUTTLE),
                ..plan
            },
            ClusterCase::Split | ClusterCase::Move => {
                let kind = match args.case {
                    ClusterCase::Split => relayout::Kind::Split,
                    _ => relayout::Kind::Move,
                };
                let rounds = args.rounds;
                let mut run = plan.run.clone();
                run.seconds = run.seconds.max(ROUND_S * f64::from(rounds));
                // The lanes are what is looked at, not what each client decodes by itself.
                run.decode.get_or_insert(Decode::Interned);
                // One cell, however many nodes there are.
                run.config.push("space.cell_m=0.0".to_owned());
                Self {
                    radius_m: CROWD_M.1,
                    views: Views::Crowd,
                    relayout: Some(Relayout { kind, rounds }),
                    run,
                    ..plan
                }
            }
            // A few clients in a crowd, and all of it in one process: the lanes are what is looked at.
            ClusterCase::LaneCost | ClusterCase::FrameBytes => Self {
                radius_m: CROWD_M.1,
                views: Views::Crowd,
                cluster: None,
                frame_bytes: args.case == ClusterCase::FrameBytes,
                ..plan
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::args::tests::plan;

    #[test]
    fn lanes_change_in_one_cell_as_often_as_asked() {
        let changes = |line| plan(line).expect(line).relayout.map(|relayout| relayout.rounds);
        assert_eq!(changes("cluster --case split"), Some(20));
        assert_eq!(changes("cluster --case move --rounds 3"), Some(3));
        assert_eq!(changes("cluster --case wander"), None);
        let plan = plan("cluster --case split --rounds 4").expect("a plan");
        assert!(plan.run.config.contains(&"space.cell_m=0.0".to_owned()) && plan.run.seconds >= 120.0);
    }

    #[test]
    fn a_cluster_is_as_large_as_asked() {
        let size = |line| plan(line).expect(line).cluster;
        let (cells, gateways) = (4, 1);
        assert_eq!(size("spread"), None);
        assert_eq!(
            size("cluster --case wander --cells 4 --gateways 1"),
            Some(ClusterSize { cells, gateways })
        );
        let (cells, gateways) = (2, 1);
        assert_eq!(
            size("cluster --case handoff"),
            Some(ClusterSize { cells, gateways })
        );
        assert!(plan("cluster --case wander --cells 9").is_err());
        assert!(plan("cluster").is_err());
    }
}
