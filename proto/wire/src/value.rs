//! Values of properties and arguments.

use bincode::{Decode, Encode};

/// The type of a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum ValueType {
    /// True or false.
    Bool,
    /// A whole number of 64 bits. Scripts see numbers exactly up to 2^53.
    Int,
    /// A 64-bit floating-point number.
    Float,
    /// UTF-8 text.
    Text,
}

/// A property's value, or an argument of an event or a command.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum Value {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// UTF-8 text.
    Text(String),
}

impl Value {
    /// Its type.
    #[must_use]
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::Bool(_) => ValueType::Bool,
            Self::Int(_) => ValueType::Int,
            Self::Float(_) => ValueType::Float,
            Self::Text(_) => ValueType::Text,
        }
    }
}

/// Properties of one entity, as they travel: number and value, in ascending order, no duplicates.
pub type PropertyList = Vec<(crate::PropertyIndex, Value)>;
