//! Entity kinds as scripts declare them, checked once and then immutable.
//!
//! A kind's number is its place in the list, a property's its place within its kind. Values live in one column
//! per type ([`crate::components::columns`]); this module says which column and which cell of it.

use crate::components::timers::TimerIndex;
use crate::domain::{Domain, DomainError};
use crate::names::is_name;
use myriad_wire::limits::{PROPERTIES_MAX, TEXT_BYTES_MAX};
use myriad_wire::schema::{Audience, KindSchema, PropertySchema};
use myriad_wire::{KindId, PropertyIndex, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use thiserror::Error;

/// Most kinds of one game.
pub const KINDS_MAX: usize = 256;
/// Most timers of one kind.
pub const TIMERS_MAX: usize = 32;
/// Farthest an entity may see, in metres: the interest engine's fast path ends at 1024 m.
pub const RADIUS_MAX_M: f64 = 1000.0;
/// Farthest at which scripts notice others, in metres: the margin in which a lane must know of its neighbours.
pub const NOTICE_MAX_M: f64 = 60.0;
/// Fastest an entity may go, in metres per second.
pub const SPEED_MAX_M_S: f64 = 1000.0;
/// Interest units per metre.
const AOI_UNITS_PER_METRE: f64 = 32.0;

/// A property as declared.
#[derive(Clone, Debug, PartialEq)]
pub struct PropertySpec {
    /// Its name: a lower-case identifier, unique within its kind.
    pub name: String,
    /// What its values may be.
    pub domain: Domain,
    /// What it is until someone sets it. In the domain.
    pub default: Value,
    /// Which clients are told.
    pub audience: Audience,
    /// Whether it survives in storage.
    pub saved: bool,
}

/// An entity kind as declared.
#[derive(Clone, Debug, PartialEq)]
pub struct KindSpec {
    /// Its name: a lower-case identifier, unique in the game.
    pub name: String,
    /// Whether sessions get an entity of this kind as their avatar. At most one kind is.
    pub avatar: bool,
    /// On which layers its entities are, unless changed: they are seen by those whose `sees` meets these.
    pub layers: u32,
    /// Which layers its entities see, unless changed.
    pub sees: u32,
    /// How far its entities see, in metres: 0 to [`RADIUS_MAX_M`].
    pub radius_m: f64,
    /// Within which distance its script is told of others that come and go, in metres: 0 to [`NOTICE_MAX_M`]; 0 for
    /// never.
    pub notice_m: f64,
    /// How fast its entities may go, in metres per second: 0 to [`SPEED_MAX_M_S`].
    pub speed_max_m_s: f64,
    /// Its properties, at most [`PROPERTIES_MAX`].
    pub properties: Vec<PropertySpec>,
    /// The names of its timers, at most [`TIMERS_MAX`].
    pub timers: Vec<String>,
}

/// What is wrong with a declaration.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KindError {
    /// More than [`KINDS_MAX`] kinds.
    #[error("more than {KINDS_MAX} entity kinds")]
    TooManyKinds,
    /// Two kinds of one name.
    #[error("kind '{0}' is declared twice")]
    DuplicateKind(String),
    /// Two kinds for avatars.
    #[error("kinds '{0}' and '{1}' are both declared as avatar")]
    TwoAvatars(String, String),
    /// A kind's, property's or timer's name that is not an identifier.
    #[error("'{0}' is not a name: lower-case letters, digits and '_', a letter first, at most 32 bytes")]
    BadName(String),
    /// A radius or speed beyond its limits.
    #[error("kind '{kind}': {what} must be between 0 and {max}")]
    BadNumber {
        /// The kind.
        kind: String,
        /// Which number.
        what: &'static str,
        /// The highest allowed.
        max: u32,
    },
    /// More than [`PROPERTIES_MAX`] properties.
    #[error("kind '{0}' has more than {PROPERTIES_MAX} properties")]
    TooManyProperties(String),
    /// Two properties of one name.
    #[error("kind '{kind}' declares property '{property}' twice")]
    DuplicateProperty {
        /// The kind.
        kind: String,
        /// The property.
        property: String,
    },
    /// A domain that holds no value, or an unbounded one.
    #[error("kind '{kind}': the bounds of property '{property}' are impossible")]
    BadBounds {
        /// The kind.
        kind: String,
        /// The property.
        property: String,
    },
    /// A default outside its own property's domain.
    #[error("kind '{kind}': the default of property '{property}' {error}")]
    BadDefault {
        /// The kind.
        kind: String,
        /// The property.
        property: String,
        /// Why.
        error: DomainError,
    },
    /// More than [`TIMERS_MAX`] timers.
    #[error("kind '{0}' has more than {TIMERS_MAX} timers")]
    TooManyTimers(String),
    /// Two timers of one name.
    #[error("kind '{kind}' declares timer '{timer}' twice")]
    DuplicateTimer {
        /// The kind.
        kind: String,
        /// The timer.
        timer: String,
    },
}

impl KindSpec {
    /// That this declaration is right in itself.
    ///
    /// # Errors
    /// The first mistake found.
    pub fn check(&self) -> Result<(), KindError> {
        check_name(&self.name)?;
        let kind = || self.name.clone();
        for (what, value, max) in [
            ("radius", self.radius_m, RADIUS_MAX_M),
            ("notice", self.notice_m, NOTICE_MAX_M),
            ("speed", self.speed_max_m_s, SPEED_MAX_M_S),
        ] {
            if !(0.0..=max).contains(&value) {
                return Err(KindError::BadNumber {
                    kind: kind(),
                    what,
                    max: max as u32,
                });
            }
        }
        if self.properties.len() > PROPERTIES_MAX {
            return Err(KindError::TooManyProperties(kind()));
        }
        for (i, property) in self.properties.iter().enumerate() {
            if self.properties[..i].iter().any(|p| p.name == property.name) {
                return Err(KindError::DuplicateProperty {
                    kind: kind(),
                    property: property.name.clone(),
                });
            }
            property.check(&self.name)?;
        }
        if self.timers.len() > TIMERS_MAX {
            return Err(KindError::TooManyTimers(kind()));
        }
        for (i, timer) in self.timers.iter().enumerate() {
            check_name(timer)?;
            if self.timers[..i].contains(timer) {
                return Err(KindError::DuplicateTimer {
                    kind: kind(),
                    timer: timer.clone(),
                });
            }
        }
        Ok(())
    }
}

impl PropertySpec {
    fn check(&self, kind: &str) -> Result<(), KindError> {
        check_name(&self.name)?;
        let possible = match self.domain {
            Domain::Bool => true,
            Domain::Int { min, max } => min <= max,
            Domain::Float { min, max } => min.is_finite() && max.is_finite() && min <= max,
            Domain::Text { bytes_max } => bytes_max <= TEXT_BYTES_MAX,
        };
        if !possible {
            return Err(KindError::BadBounds {
                kind: kind.to_owned(),
                property: self.name.clone(),
            });
        }
        self.domain
            .check(&self.default)
            .map_err(|error| KindError::BadDefault {
                kind: kind.to_owned(),
                property: self.name.clone(),
                error,
            })
    }
}

fn check_name(name: &str) -> Result<(), KindError> {
    if is_name(name) {
        Ok(())
    } else {
        Err(KindError::BadName(name.to_owned()))
    }
}

/// A set of one kind's properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PropertyMask(pub u64);

const _: () = assert!(PROPERTIES_MAX <= 64, "a mask has one bit per property");

impl PropertyMask {
    /// Every property.
    pub const ALL: Self = Self(u64::MAX);

    /// Only this one.
    #[must_use]
    pub fn of(index: PropertyIndex) -> Self {
        Self(1 << index.0)
    }

    /// Whether this one is in it.
    #[must_use]
    pub fn contains(self, index: PropertyIndex) -> bool {
        self.0 >> index.0 & 1 != 0
    }

    /// Those in both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its properties, ascending.
    pub fn iter(self) -> impl Iterator<Item = PropertyIndex> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            (rest != 0).then(|| {
                let index = rest.trailing_zeros() as u8;
                rest &= rest - 1;
                PropertyIndex(index)
            })
        })
    }
}

/// A checked kind: its declaration, and what follows from it.
#[derive(Debug)]
pub struct Kind {
    spec: KindSpec,
    id: KindId,
    by_name: BTreeMap<String, PropertyIndex>,
    /// The cell of each property in the column of its type.
    cells: Vec<u8>,
    /// Indexed by [`Audience`] as number.
    audiences: [PropertyMask; 3],
    saved: PropertyMask,
    radius_aoi: u32,
    notice_aoi: u32,
}

impl Kind {
    fn new(id: KindId, mut spec: KindSpec) -> Self {
        // Timers are numbered in the order of their names, so that those due together run in that order.
        spec.timers.sort_unstable();
        let mut used = [0u8; 4];
        let mut kind = Self {
            id,
            by_name: BTreeMap::new(),
            cells: Vec::with_capacity(spec.properties.len()),
            audiences: [PropertyMask::default(); 3],
            saved: PropertyMask::default(),
            radius_aoi: (spec.radius_m * AOI_UNITS_PER_METRE).round() as u32,
            notice_aoi: (spec.notice_m * AOI_UNITS_PER_METRE).round() as u32,
            spec,
        };
        for (i, property) in kind.spec.properties.iter().enumerate() {
            let index = PropertyIndex(i as u8);
            kind.by_name.insert(property.name.clone(), index);
            let next = &mut used[property.domain.value_type() as usize];
            kind.cells.push(*next);
            *next += 1;
            kind.audiences[property.audience as usize].0 |= PropertyMask::of(index).0;
            if property.saved {
                kind.saved.0 |= PropertyMask::of(index).0;
            }
        }
        kind
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> KindId {
        self.id
    }

    /// Its declaration; the timers in the order of their names.
    #[must_use]
    pub fn spec(&self) -> &KindSpec {
        &self.spec
    }

    /// The declaration of a property, if there is one of that number.
    #[must_use]
    pub fn property(&self, index: PropertyIndex) -> Option<&PropertySpec> {
        self.spec.properties.get(usize::from(index.0))
    }

    /// The number of the property called `name`.
    #[must_use]
    pub fn property_index(&self, name: &str) -> Option<PropertyIndex> {
        self.by_name.get(name).copied()
    }

    /// The number of the timer called `name`.
    #[must_use]
    pub fn timer_index(&self, name: &str) -> Option<TimerIndex> {
        let place = self.spec.timers.binary_search_by(|t| t.as_str().cmp(name)).ok()?;
        Some(TimerIndex(place as u8))
    }

    /// The properties that exactly this audience is told.
    #[must_use]
    pub fn audience(&self, audience: Audience) -> PropertyMask {
        self.audiences[audience as usize]
    }

    /// The properties that survive in storage.
    #[must_use]
    pub fn saved(&self) -> PropertyMask {
        self.saved
    }

    /// How far its entities see, in interest units (1/32 m).
    #[must_use]
    pub fn radius_aoi(&self) -> u32 {
        self.radius_aoi
    }

    /// Within which distance its script is told of others, in interest units (1/32 m); 0 for never.
    #[must_use]
    pub fn notice_aoi(&self) -> u32 {
        self.notice_aoi
    }

    /// The cell of a property in the column of its type.
    pub(crate) fn cell(&self, index: PropertyIndex) -> usize {
        usize::from(self.cells[usize::from(index.0)])
    }

    fn schema(&self) -> KindSchema {
        let properties = self.spec.properties.iter().map(|p| PropertySchema {
            name: if p.audience == Audience::Nobody {
                String::new()
            } else {
                p.name.clone()
            },
            value_type: p.domain.value_type(),
            audience: p.audience,
        });
        KindSchema {
            name: self.spec.name.clone(),
            hash: fnv1a(format!("{:?}", self.spec).as_bytes()),
            properties: properties.collect(),
        }
    }
}

/// FNV-1a, 64 bits: a diagnosis, no security.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// All kinds of a game. Cheap to clone: the declarations are shared.
#[derive(Clone, Debug)]
pub struct Kinds {
    kinds: Arc<[Kind]>,
    avatar: Option<KindId>,
}

impl Kinds {
    /// Checks declarations and numbers them in their order.
    ///
    /// # Errors
    /// The first mistake found.
    pub fn new(specs: Vec<KindSpec>) -> Result<Self, KindError> {
        if specs.len() > KINDS_MAX {
            return Err(KindError::TooManyKinds);
        }
        let mut avatar: Option<usize> = None;
        for (i, spec) in specs.iter().enumerate() {
            spec.check()?;
            if specs[..i].iter().any(|s| s.name == spec.name) {
                return Err(KindError::DuplicateKind(spec.name.clone()));
            }
            if !spec.avatar {
                continue;
            }
            if let Some(other) = avatar {
                return Err(KindError::TwoAvatars(
                    specs[other].name.clone(),
                    spec.name.clone(),
                ));
            }
            avatar = Some(i);
        }
        let kinds = specs.into_iter().enumerate();
        Ok(Self {
            kinds: kinds.map(|(i, spec)| Kind::new(KindId(i as u16), spec)).collect(),
            avatar: avatar.map(|i| KindId(i as u16)),
        })
    }

    /// The kind of that number, if there is one.
    #[must_use]
    pub fn get(&self, id: KindId) -> Option<&Kind> {
        self.kinds.get(usize::from(id.0))
    }

    /// The kind called `name`.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Kind> {
        self.kinds.iter().find(|kind| kind.spec.name == name)
    }

    /// The kind that sessions get as their avatar.
    #[must_use]
    pub fn avatar(&self) -> Option<&Kind> {
        self.avatar.and_then(|id| self.get(id))
    }

    /// All of them, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &Kind> {
        self.kinds.iter()
    }

    /// What clients must know of them. Properties for nobody keep their place but not their name.
    #[must_use]
    pub fn schema(&self) -> Vec<KindSchema> {
        self.kinds.iter().map(Kind::schema).collect()
    }
}
