//! What a client must know of the entity kinds to read their properties.

use crate::value::ValueType;
use bincode::{Decode, Encode};

/// Who is told a property's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum Audience {
    /// No client: it stays on the server.
    Nobody,
    /// The client whose avatar it is.
    Owner,
    /// Every client that has the entity in view, the owner too.
    All,
}

/// An entity kind as clients see it. Its number is its place in [`crate::client::Joined::kinds`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct KindSchema {
    /// The kind's name, as scripts declare it.
    pub name: String,
    /// A hash of the declaration: for diagnosis only, never a version check.
    pub hash: u64,
    /// Its properties. A property's number is its place in this list.
    pub properties: Vec<PropertySchema>,
}

/// A property as clients see it. Those for [`Audience::Nobody`] keep their place but not their name.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct PropertySchema {
    /// The property's name; empty where no client is told it.
    pub name: String,
    /// The type of its values.
    pub value_type: ValueType,
    /// Who is told.
    pub audience: Audience,
}
