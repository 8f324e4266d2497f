//! Avatars and their sessions as they go from lane to lane.

use super::{Avatar, Place, Saved, Session};
use crate::whereabouts::AvatarLife;
use myriad_wire::lane::{AvatarTransfer, SessionTransfer};
use myriad_world::{Handle, MovementBudget};

impl Avatar {
    /// All that goes with it. Answers to commands were told in the tick that has just been published.
    pub(crate) fn into_transfer(self, account: String) -> AvatarTransfer {
        AvatarTransfer {
            account,
            epoch: self.epoch,
            session: self.session.map(Session::into_transfer),
            detached: self.detached.map(Session::into_transfer),
            replaced: self.replaced.into(),
            detached_since: self.detached_since,
            left: self.left,
            saved_position: self.saved.position,
            properties_changed: self.saved.properties_changed,
        }
    }

    /// The account and avatar that came; `budget` is a full one.
    pub(crate) fn from_transfer(
        transfer: AvatarTransfer,
        (handle, life): (Handle, AvatarLife),
        budget: &MovementBudget,
    ) -> (String, Self) {
        let session = |session| Session::from_transfer(session, budget);
        let avatar = Self {
            place: Place::InWorld(handle),
            life,
            session: transfer.session.map(session),
            detached: transfer.detached.map(session),
            replaced: transfer.replaced.into(),
            epoch: transfer.epoch,
            detached_since: transfer.detached_since,
            left: transfer.left,
            saved: Saved {
                position: transfer.saved_position,
                properties_changed: transfer.properties_changed,
            },
        };
        (transfer.account, avatar)
    }
}

impl Session {
    fn into_transfer(self) -> SessionTransfer {
        SessionTransfer {
            session: self.id,
            gateway: self.gateway,
            applied: self.applied,
            corrections: self.corrections,
            balance: self.budget.balance(),
            answered: self.answered,
            intents: self.intents.into(),
            commands: self.commands.into(),
        }
    }

    fn from_transfer(transfer: SessionTransfer, budget: &MovementBudget) -> Self {
        let intents = transfer.intents;
        let commands = transfer.commands;
        Self {
            newest_intent: intents.last().map_or(transfer.applied, |(seq, _)| *seq),
            newest_command: commands.last().map_or(transfer.answered, |command| command.seq),
            applied: transfer.applied,
            corrections: transfer.corrections,
            answered: transfer.answered,
            intents: intents.into(),
            commands: commands.into(),
            ..Self::new(
                transfer.session,
                transfer.gateway,
                budget.clone().with_balance(transfer.balance),
            )
        }
    }
}
