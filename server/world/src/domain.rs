//! What a property's values may be.

use myriad_wire::Value;
use myriad_wire::value::ValueType;
use thiserror::Error;

/// What a property's values may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Domain {
    /// True or false.
    Bool,
    /// Whole numbers from `min` to `max`, both included.
    Int {
        /// Lowest value.
        min: i64,
        /// Highest value.
        max: i64,
    },
    /// Finite numbers from `min` to `max`, both included and finite.
    Float {
        /// Lowest value.
        min: f64,
        /// Highest value.
        max: f64,
    },
    /// Text.
    Text {
        /// Longest value, in bytes of UTF-8.
        bytes_max: usize,
    },
}

/// Why a value is not in a [`Domain`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DomainError {
    /// A value of another type.
    #[error("takes {}, not {}", type_name(*expected), type_name(*found))]
    WrongType {
        /// The property's type.
        expected: ValueType,
        /// The value's type.
        found: ValueType,
    },
    /// Below the lowest or above the highest value, or not a number.
    #[error("is {value}, which is not between {min} and {max}")]
    OutOfRange {
        /// The value.
        value: String,
        /// The lowest allowed.
        min: String,
        /// The highest allowed.
        max: String,
    },
    /// A text beyond its limit.
    #[error("has {bytes} bytes, more than {bytes_max}")]
    TooLong {
        /// The text's length in bytes.
        bytes: usize,
        /// The limit in bytes.
        bytes_max: usize,
    },
}

/// A type's name for people.
#[must_use]
pub fn type_name(value_type: ValueType) -> &'static str {
    match value_type {
        ValueType::Bool => "a boolean",
        ValueType::Int => "a whole number",
        ValueType::Float => "a number",
        ValueType::Text => "a text",
    }
}

impl Domain {
    /// The type of its values.
    #[must_use]
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::Bool => ValueType::Bool,
            Self::Int { .. } => ValueType::Int,
            Self::Float { .. } => ValueType::Float,
            Self::Text { .. } => ValueType::Text,
        }
    }

    /// That `value` is one of these values.
    ///
    /// # Errors
    /// Which says how it is not.
    pub fn check(&self, value: &Value) -> Result<(), DomainError> {
        match (self, value) {
            (Self::Bool, Value::Bool(_)) => Ok(()),
            (Self::Int { min, max }, Value::Int(v)) => within(v, min, max),
            (Self::Float { min, max }, Value::Float(v)) => within(v, min, max),
            (Self::Text { bytes_max }, Value::Text(v)) if v.len() <= *bytes_max => Ok(()),
            (Self::Text { bytes_max }, Value::Text(v)) => Err(DomainError::TooLong {
                bytes: v.len(),
                bytes_max: *bytes_max,
            }),
            _ => Err(DomainError::WrongType {
                expected: self.value_type(),
                found: value.value_type(),
            }),
        }
    }
}

fn within<T: PartialOrd + ToString>(value: &T, min: &T, max: &T) -> Result<(), DomainError> {
    // NaN is in no range.
    if value >= min && value <= max {
        return Ok(());
    }
    Err(DomainError::OutOfRange {
        value: value.to_string(),
        min: min.to_string(),
        max: max.to_string(),
    })
}
