//! What nodes ask the directory.

use super::{Golden, clock, golden};
use myriad_wire::directory::{
    ClusterView, DirectoryReply, DirectoryRequest, Duty, LaneClaim, LaneRecord, LayoutChange, NodeRecord,
};
use myriad_wire::{Incarnation, LaneEpoch, LaneId, SpaceId, Tick};

fn node_record() -> NodeRecord {
    NodeRecord {
        name: "cell-1".into(),
        incarnation: Incarnation(4),
        link: Some("10.0.0.1:4500".into()),
        client: None,
        admin: "127.0.0.1:8080".into(),
        takes_lanes: true,
        settings: vec![("space.hz".into(), "10".into())],
    }
}

fn view() -> ClusterView {
    ClusterView {
        revision: 1 << 32,
        nodes: vec![node_record()],
        layout: 300,
        lanes: vec![
            LaneRecord {
                lane: LaneId(1),
                cell: 0,
                duty: Duty::Serving,
                replaces: None,
                node: "cell-1".into(),
                claim: Some(LaneClaim {
                    incarnation: Incarnation(4),
                    epoch: LaneEpoch(12),
                }),
            },
            LaneRecord {
                lane: LaneId(2),
                cell: 0,
                duty: Duty::Opening,
                replaces: Some(LaneId(1)),
                node: "cell-2".into(),
                claim: None,
            },
        ],
    }
}

pub(super) fn next_request(previous: Option<&DirectoryRequest>) -> Option<Golden<DirectoryRequest>> {
    let (space, tick, incarnation) = (SpaceId(1), Tick(70_000), Incarnation(4));
    match previous {
        None => golden(
            "DirectoryRequest::Announce",
            DirectoryRequest::Announce(node_record()),
            "000663656c6c2d3104010d31302e302e302e313a34353030000e3132372e302e302e313a38303830 \
             01010873706163652e687a023130",
        ),
        Some(DirectoryRequest::Announce(_)) => golden(
            "DirectoryRequest::Withdraw",
            DirectoryRequest::Withdraw(incarnation),
            "0104",
        ),
        Some(DirectoryRequest::Withdraw(_)) => golden(
            "DirectoryRequest::Change",
            DirectoryRequest::Change(LayoutChange::Merge(LaneId(1))),
            "020201",
        ),
        Some(DirectoryRequest::Change(_)) => golden(
            "DirectoryRequest::Claim",
            DirectoryRequest::Claim {
                lane: LaneId(1),
                incarnation,
            },
            "030104",
        ),
        Some(DirectoryRequest::Claim { .. }) => golden(
            "DirectoryRequest::View",
            DirectoryRequest::View { known: 1 << 32 },
            "04fd0000000001000000",
        ),
        Some(DirectoryRequest::View { .. }) => golden(
            "DirectoryRequest::Clock",
            DirectoryRequest::Clock {
                space,
                hz: 10.0,
                now_us: 1_700_000_000_000_000,
                incarnation,
            },
            "05010000000000002440fd00401e18240a060004",
        ),
        Some(DirectoryRequest::Clock { .. }) => golden(
            "DirectoryRequest::Note",
            DirectoryRequest::Note {
                space,
                tick,
                incarnation,
            },
            "0601fc7011010004",
        ),
        Some(DirectoryRequest::Note { .. }) => golden(
            "DirectoryRequest::Close",
            DirectoryRequest::Close {
                space,
                tick,
                incarnation,
            },
            "0701fc7011010004",
        ),
        Some(DirectoryRequest::Close { .. }) => None,
    }
}

pub(super) fn next_reply(previous: Option<&DirectoryReply>) -> Option<Golden<DirectoryReply>> {
    match previous {
        None => golden("DirectoryReply::Done", DirectoryReply::Done, "00"),
        Some(DirectoryReply::Done) => golden(
            "DirectoryReply::Claimed",
            DirectoryReply::Claimed(LaneEpoch(12)),
            "010c",
        ),
        Some(DirectoryReply::Claimed(_)) => golden(
            "DirectoryReply::View",
            DirectoryReply::View(Some(view())),
            "0201fd0000000001000000010663656c6c2d3104010d31302e302e302e313a34353030000e313237 \
             2e302e302e313a3830383001010873706163652e687a023130fb2c0102010001000663656c6c2d31 \
             01040c02000001010663656c6c2d3200",
        ),
        Some(DirectoryReply::View(_)) => golden(
            "DirectoryReply::Clock",
            DirectoryReply::Clock(clock()),
            "03fd00401e18240a060000fb1027",
        ),
        Some(DirectoryReply::Clock(_)) => golden(
            "DirectoryReply::NotYet",
            DirectoryReply::NotYet("soon".into()),
            "0404736f6f6e",
        ),
        Some(DirectoryReply::NotYet(_)) => golden(
            "DirectoryReply::Refused",
            DirectoryReply::Refused("no".into()),
            "05026e6f",
        ),
        Some(DirectoryReply::Refused(_)) => None,
    }
}

pub(super) fn next_duty(previous: Option<&Duty>) -> Option<Golden<Duty>> {
    match previous {
        None => golden("Duty::Opening", Duty::Opening, "00"),
        Some(Duty::Opening) => golden("Duty::Serving", Duty::Serving, "01"),
        Some(Duty::Serving) => golden("Duty::Retiring", Duty::Retiring, "02"),
        Some(Duty::Retiring) => None,
    }
}

pub(super) fn next_change(previous: Option<&LayoutChange>) -> Option<Golden<LayoutChange>> {
    let (lane, node, epoch) = (LaneId(1), String::from("cell-1"), LaneEpoch(12));
    match previous {
        None => golden(
            "LayoutChange::Found",
            LayoutChange::Found {
                cells: 9,
                lanes_per_cell: 2,
                nodes: vec![node],
            },
            "000902010663656c6c2d31",
        ),
        Some(LayoutChange::Found { .. }) => golden(
            "LayoutChange::Split",
            LayoutChange::Split { cell: 4, node },
            "01040663656c6c2d31",
        ),
        Some(LayoutChange::Split { .. }) => golden("LayoutChange::Merge", LayoutChange::Merge(lane), "0201"),
        Some(LayoutChange::Merge(_)) => golden(
            "LayoutChange::Move",
            LayoutChange::Move { lane, node },
            "03010663656c6c2d31",
        ),
        Some(LayoutChange::Move { .. }) => golden(
            "LayoutChange::Serve",
            LayoutChange::Serve { lane, epoch },
            "04010c",
        ),
        Some(LayoutChange::Serve { .. }) => {
            golden("LayoutChange::End", LayoutChange::End { lane, epoch }, "05010c")
        }
        Some(LayoutChange::End { .. }) => None,
    }
}
