//! The checkers: what must hold at every step, and what must hold in the end.
//!
//! They believe only the lanes' worlds ([`crate::truth`]) and what they have seen players do; never a message's word.
//! [`authority`] watches the lane, [`sent`] and [`crowd`] what gateways send, [`told`] what clients tell (with
//! [`nearness`] for who is to be seen, and [`band`] in a crowd), [`finale`] the end. [`notes`] is what they share.

pub(crate) mod authority;
mod band;
pub(crate) mod crowd;
pub(crate) mod finale;
pub(crate) mod nearness;
pub(crate) mod notes;
pub(crate) mod sent;
pub(crate) mod told;

/// Nothing was wrong, or what was.
pub(crate) type Checked = Result<(), String>;

/// Fails with a message unless the condition holds.
macro_rules! demand {
    ($condition:expr, $($message:tt)+) => {
        let holds: bool = $condition;
        if !holds {
            return Err(format!($($message)+));
        }
    };
}

pub(crate) use demand;
