//! Dependencies in numbers. pycti counts an object as often as it is referred to, so that each layer of a web doubles
//! them; Python's integers do not mind.

use std::cmp::Ordering;
use std::fmt;

use num_bigint::BigUint;

use crate::opencti::python::DIGITS_MAX;

/// How many dependencies an object has: its `nb_deps`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Count {
    /// As nearly always.
    Few(u64),
    /// More than 2^64.
    Many(BigUint),
    /// More digits than Python writes; how many more does not matter, for nothing is made of it.
    TooMany,
}

/// Bits of the longest integer that Python writes in decimal, and some: 4,300 digits.
const BITS_MAX: u64 = 14_290;

impl Count {
    /// What an object has that refers to nothing: itself.
    pub const ONE: Self = Self::Few(1);
    /// What is not in the bundle counts for nothing.
    pub const NONE: Self = Self::Few(0);

    /// Counts these too.
    pub fn add(&mut self, more: &Self) {
        let sum = match (&*self, more) {
            (Self::TooMany, _) | (_, Self::TooMany) => Self::TooMany,
            (Self::Few(a), Self::Few(b)) => {
                a.checked_add(*b).map_or_else(|| Self::Many(BigUint::from(*a) + *b), Self::Few)
            }
            (Self::Many(a), Self::Few(b)) | (Self::Few(b), Self::Many(a)) => Self::Many(a + *b),
            (Self::Many(a), Self::Many(b)) => Self::Many(a + b),
        };
        *self = match sum {
            Self::Many(many) if many.bits() > BITS_MAX => Self::TooMany,
            sum => sum,
        };
    }

    /// Whether Python writes it in decimal: not beyond [`DIGITS_MAX`] digits.
    pub fn is_written(&self) -> bool {
        match self {
            Self::Few(_) => true,
            Self::Many(many) => many.to_string().len() <= DIGITS_MAX,
            Self::TooMany => false,
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Few(few) => few.fmt(f),
            Self::Many(many) => many.fmt(f),
            Self::TooMany => f.write_str("too many"),
        }
    }
}

impl PartialOrd for Count {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Count {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Few(a), Self::Few(b)) => a.cmp(b),
            (Self::Many(a), Self::Many(b)) => a.cmp(b),
            (Self::TooMany, Self::TooMany) => Ordering::Equal,
            (Self::Few(_), _) | (_, Self::TooMany) => Ordering::Less,
            (_, Self::Few(_)) | (Self::TooMany, _) => Ordering::Greater,
        }
    }
}

#[cfg(test)]
mod a_count {
    use super::*;

    #[test]
    fn grows_beyond_a_machine_word() {
        let mut count = Count::Few(u64::MAX);
        count.add(&Count::ONE);
        assert_eq!(count.to_string(), "18446744073709551616");
        assert!(count > Count::Few(u64::MAX));
        let half = count.clone();
        count.add(&half);
        count.add(&Count::Few(5));
        assert_eq!(count.to_string(), "36893488147419103237");
        assert!(count.is_written() && Count::NONE.is_written());
        assert!(count > half);
    }

    #[test]
    fn ends_where_python_writes_no_more() {
        let mut count = Count::ONE;
        for _ in 0..14_284 {
            count.add(&count.clone());
        }
        assert!(count.is_written(), "2^14284 has 4,300 digits");
        count.add(&count.clone());
        assert!(!count.is_written());
        for _ in 0..100_000 {
            count.add(&count.clone());
        }
        assert_eq!(count, Count::TooMany);
        assert!(count > Count::Few(u64::MAX) && Count::ONE < count);
    }
}
