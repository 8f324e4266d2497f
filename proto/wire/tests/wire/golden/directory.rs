//! What nodes ask the directory.

use super::{Golden, clock, golden};
use myriad_wire::directory::{
    ClusterView, DirectoryReply, DirectoryRequest, LaneClaim, LaneRecord, NodeRecord,
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
        lanes: vec![
            LaneRecord {
                lane: LaneId(1),
                node: "cell-1".into(),
                claim: Some(LaneClaim {
                    incarnation: Incarnation(4),
                    epoch: LaneEpoch(12),
                }),
            },
            LaneRecord {
                lane: LaneId(2),
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
            "DirectoryRequest::Place",
            DirectoryRequest::Place(vec![(LaneId(1), "cell-1".into())]),
            "0201010663656c6c2d31",
        ),
        Some(DirectoryRequest::Place(_)) => golden(
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
             2e302e302e313a3830383001010873706163652e687a02313002010663656c6c2d3101040c020663 \
             656c6c2d3200",
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
