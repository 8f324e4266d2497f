//! Whether a decoded message keeps to [`crate::limits`], which its types alone do not show. Done once, where it
//! comes in: behind [`ClientMessage::from_bytes`], [`ServerMessage::from_bytes`] and [`Happening::list_from_bytes`]
//! nobody checks again.

use crate::client::{ClientMessage, Command, Enter, Event, Hello, Joined, Login, ServerMessage, ViewUpdate};
use crate::codec::{CodecError, decode};
use crate::crowd::message::Happening;
use crate::limits::{
    ACCOUNT_BYTES_MAX, AGENT_BYTES_MAX, ARGUMENTS_MAX, CLIENT_MESSAGE_BYTES_MAX, IDENTIFY_MAX,
    LOGIN_KEY_BYTES_MAX, NAME_BYTES_MAX, PROPERTIES_MAX, SERVER_MESSAGE_BYTES_MAX, TEXT_BYTES_MAX,
};
use crate::value::Value;
use crate::{CloseReason, PropertyIndex};

impl ClientMessage {
    /// The checked message that `bytes` are, as a gateway takes them off a client's stream.
    ///
    /// # Errors
    /// With what the session must be closed for, if it is none, too large, or breaks a limit.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CloseReason> {
        let message: Self = decode(bytes, CLIENT_MESSAGE_BYTES_MAX).map_err(|e| e.close_reason())?;
        match (message.check(), &message) {
            (Ok(()), _) => Ok(message),
            (Err(_), Self::Login(_)) => Err(CloseReason::LoginRefused),
            (Err(e), _) => Err(e.close_reason()),
        }
    }

    /// That it keeps to the limits of its fields.
    ///
    /// # Errors
    /// With the limit that it breaks.
    pub fn check(&self) -> Result<(), CodecError> {
        match self {
            Self::Hello(hello) => hello.check(),
            Self::Login(login) => login.check(),
            Self::Command(command) => command.check(),
            Self::Identify(identify) => {
                within(identify.subjects.len() <= IDENTIFY_MAX, "the number of subjects")
            }
            Self::Join(_) | Self::Leave => Ok(()),
        }
    }
}

impl Hello {
    fn check(&self) -> Result<(), CodecError> {
        // It stands in the operator's logs.
        let printable = !self.agent.chars().any(char::is_control);
        within(
            self.agent.len() <= AGENT_BYTES_MAX && printable,
            "the agent's name",
        )
    }
}

impl Login {
    /// That account and key keep to their limits; not whether they are right.
    ///
    /// # Errors
    /// With the limit that is broken.
    pub fn check(&self) -> Result<(), CodecError> {
        let length = self.account.len();
        let printable = !self.account.chars().any(char::is_control);
        within(
            (1..=ACCOUNT_BYTES_MAX).contains(&length) && printable,
            "the account name",
        )?;
        within(self.key.len() <= LOGIN_KEY_BYTES_MAX, "the login key")
    }
}

impl Command {
    fn check(&self) -> Result<(), CodecError> {
        within(self.seq.0 > 0, "commands count from 1")?;
        check_call(&self.name, &self.arguments)?;
        // Scripts compare and add what players send; none of them expects a number that is none.
        let finite = |value: &Value| !matches!(value, Value::Float(f) if !f.is_finite());
        within(self.arguments.iter().all(finite), "a number that is not finite")
    }
}

impl ServerMessage {
    /// The checked message that `bytes` are, as a client takes them off its stream.
    ///
    /// # Errors
    /// If they are none, too large, or break a limit.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let message: Self = decode(bytes, SERVER_MESSAGE_BYTES_MAX)?;
        message.check()?;
        Ok(message)
    }

    /// That it keeps to the limits of its fields.
    ///
    /// # Errors
    /// With the limit that it breaks.
    pub fn check(&self) -> Result<(), CodecError> {
        match self {
            Self::Joined(joined) => joined.check(),
            Self::View(view) => view.check(),
            Self::Owner(owner) => check_properties(&owner.properties),
            Self::Identity(identity) => identity
                .records
                .iter()
                .try_for_each(|record| check_properties(&record.properties)),
            Self::Welcome(_) | Self::LoggedIn(_) | Self::CommandResult(_) | Self::Listed(_) => Ok(()),
        }
    }
}

impl Happening {
    /// The checked list that the bytes of a record of [`crate::crowd::message::Form::Events`] are.
    ///
    /// # Errors
    /// If they are none, too large, or break a limit.
    pub fn list_from_bytes(bytes: &[u8]) -> Result<Vec<Self>, CodecError> {
        let list: Vec<Self> = decode(bytes, SERVER_MESSAGE_BYTES_MAX)?;
        list.iter()
            .try_for_each(|happening| check_call(&happening.name, &happening.arguments))?;
        Ok(list)
    }
}

impl Joined {
    fn check(&self) -> Result<(), CodecError> {
        let (low, high) = (self.rules.bounds_min, self.rules.bounds_max);
        within(
            low.x <= high.x && low.y <= high.y && low.z <= high.z,
            "bounds that hold nothing",
        )?;
        within(self.rules.crowd_period > 0, "a crowd's period")?;
        within(self.kinds.len() <= 1 << 16, "the number of kinds")?;
        let few = |count| count <= PROPERTIES_MAX;
        within(
            self.kinds.iter().all(|kind| few(kind.properties.len())),
            "the number of properties",
        )
    }
}

impl ViewUpdate {
    fn check(&self) -> Result<(), CodecError> {
        let Self {
            tick: _,
            enters,
            changes,
            events,
            leaves: _,
        } = self;
        for Enter { properties, .. } in enters {
            check_properties(properties)?;
        }
        for change in changes {
            check_properties(&change.properties)?;
        }
        for Event { name, arguments, .. } in events {
            check_call(name, arguments)?;
        }
        Ok(())
    }
}

fn check_call(name: &str, arguments: &[Value]) -> Result<(), CodecError> {
    within((1..=NAME_BYTES_MAX).contains(&name.len()), "the length of a name")?;
    within(arguments.len() <= ARGUMENTS_MAX, "the number of arguments")?;
    arguments.iter().try_for_each(check_value)
}

fn check_properties(properties: &[(PropertyIndex, Value)]) -> Result<(), CodecError> {
    within(
        properties.is_sorted_by(|a, b| a.0 < b.0),
        "properties that do not ascend",
    )?;
    within(
        properties
            .iter()
            .all(|(index, _)| usize::from(index.0) < PROPERTIES_MAX),
        "the number of a property",
    )?;
    properties.iter().try_for_each(|(_, value)| check_value(value))
}

fn check_value(value: &Value) -> Result<(), CodecError> {
    match value {
        Value::Text(text) => within(text.len() <= TEXT_BYTES_MAX, "the length of a text"),
        Value::Bool(_) | Value::Int(_) | Value::Float(_) => Ok(()),
    }
}

fn within(holds: bool, limit: &'static str) -> Result<(), CodecError> {
    if holds {
        Ok(())
    } else {
        Err(CodecError::Limit(limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Change, Identify, OwnerUpdate};
    use crate::codec::encode;
    use crate::id::CommandSeq;

    fn hello(agent: impl Into<String>) -> ClientMessage {
        ClientMessage::Hello(Hello {
            version_min: 1,
            version_max: 1,
            features: 0,
            agent: agent.into(),
        })
    }

    fn login(account: impl Into<String>, key: impl Into<String>) -> ClientMessage {
        ClientMessage::Login(Login {
            account: account.into(),
            key: key.into(),
        })
    }

    fn command(seq: u32, name: impl Into<String>, arguments: Vec<Value>) -> ClientMessage {
        ClientMessage::Command(Command {
            seq: CommandSeq(seq),
            name: name.into(),
            arguments,
        })
    }

    #[test]
    fn what_a_client_sends_is_taken_up_to_each_limit_and_refused_beyond_it() {
        let text = |bytes: usize| "x".repeat(bytes);
        let check = |message: ClientMessage, expected: Result<(), CloseReason>| {
            let result = ClientMessage::from_bytes(&encode(&message)).map(|_| ());
            assert_eq!(result, expected, "{message:?}");
        };
        let malformed = Err(CloseReason::Malformed);
        check(hello(""), Ok(()));
        check(hello(text(AGENT_BYTES_MAX)), Ok(()));
        check(hello(text(AGENT_BYTES_MAX + 1)), malformed);
        check(hello("two\nlines"), malformed);

        let refused = Err(CloseReason::LoginRefused);
        check(login("zoë", ""), Ok(()));
        check(login(text(ACCOUNT_BYTES_MAX), text(LOGIN_KEY_BYTES_MAX)), Ok(()));
        check(login("", ""), refused);
        check(login(text(ACCOUNT_BYTES_MAX + 1), ""), refused);
        check(login("a\u{7f}", ""), refused);
        check(login("a", text(LOGIN_KEY_BYTES_MAX + 1)), refused);

        check(
            command(1, text(NAME_BYTES_MAX), vec![Value::Bool(true); ARGUMENTS_MAX]),
            Ok(()),
        );
        check(command(0, "wave", vec![]), malformed);
        check(command(1, "", vec![]), malformed);
        check(command(1, text(NAME_BYTES_MAX + 1), vec![]), malformed);
        check(
            command(1, "wave", vec![Value::Int(1); ARGUMENTS_MAX + 1]),
            malformed,
        );
        check(command(1, "say", vec![Value::Text(text(TEXT_BYTES_MAX))]), Ok(()));
        check(
            command(1, "say", vec![Value::Text(text(TEXT_BYTES_MAX + 1))]),
            malformed,
        );
        check(command(1, "mood", vec![Value::Float(f64::NAN)]), malformed);
        check(command(1, "mood", vec![Value::Float(f64::INFINITY)]), malformed);
    }

    #[test]
    fn bytes_that_are_no_message_or_too_many_close_with_their_own_reason() {
        assert_eq!(ClientMessage::from_bytes(&[]), Err(CloseReason::Malformed));
        assert_eq!(ClientMessage::from_bytes(&[99]), Err(CloseReason::Malformed));
        let long = vec![0; CLIENT_MESSAGE_BYTES_MAX + 1];
        assert_eq!(ClientMessage::from_bytes(&long), Err(CloseReason::Oversized));
    }

    #[test]
    fn a_client_asks_about_so_many_subjects_and_no_more() {
        let identify = |count| {
            let subjects = vec![crate::SubjectRef::default(); count];
            ClientMessage::from_bytes(&encode(&ClientMessage::Identify(Identify { subjects })))
        };
        assert!(identify(IDENTIFY_MAX).is_ok());
        assert_eq!(identify(IDENTIFY_MAX + 1), Err(CloseReason::Malformed));
    }

    #[test]
    fn what_happens_in_a_crowd_keeps_to_the_limits_of_events() {
        let check = |name: usize, arguments: usize, expected: bool| {
            let happening = Happening {
                slot: crate::Slot(1),
                generation: crate::Generation(0),
                name: "x".repeat(name),
                arguments: vec![Value::Int(1); arguments],
            };
            let read = Happening::list_from_bytes(&encode(&vec![happening]));
            assert_eq!(read.is_ok(), expected, "{name} {arguments}");
        };
        check(NAME_BYTES_MAX, ARGUMENTS_MAX, true);
        check(0, 0, false);
        check(NAME_BYTES_MAX + 1, 0, false);
        check(1, ARGUMENTS_MAX + 1, false);
    }

    #[test]
    fn a_view_with_unsorted_or_unknown_properties_is_refused() {
        let check = |indices: &[u8], expected: bool| {
            let properties: Vec<_> = indices
                .iter()
                .map(|i| (PropertyIndex(*i), Value::Int(1)))
                .collect();
            let view = ViewUpdate {
                changes: vec![Change {
                    subject: crate::SubjectRef::default(),
                    properties: properties.clone(),
                }],
                ..ViewUpdate::default()
            };
            let owner = OwnerUpdate {
                properties,
                ..OwnerUpdate::default()
            };
            for message in [ServerMessage::View(view), ServerMessage::Owner(owner)] {
                let read = ServerMessage::from_bytes(&encode(&message));
                assert_eq!(read.is_ok(), expected, "{indices:?}");
            }
        };
        check(&[], true);
        check(&[0, 1, PROPERTIES_MAX as u8 - 1], true);
        check(&[1, 0], false);
        check(&[1, 1], false);
        check(&[PROPERTIES_MAX as u8], false);
    }
}
