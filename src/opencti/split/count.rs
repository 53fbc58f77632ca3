//! Dependencies in numbers. pycti counts an object as often as it is referred to, so that each layer of a web doubles
//! them; Python's integers do not mind.

use std::cmp::Ordering;
use std::fmt;

use num_bigint::BigUint;

/// How many dependencies an object has: its `nb_deps`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Count {
    /// As nearly always.
    Few(u64),
    /// More than 2^64.
    Many(BigUint),
}

impl Count {
    /// What an object has that refers to nothing: itself.
    pub const ONE: Self = Self::Few(1);
    /// What is not in the bundle counts for nothing.
    pub const NONE: Self = Self::Few(0);

    /// Counts these too.
    pub fn add(&mut self, more: &Self) {
        *self = match (&*self, more) {
            (Self::Few(a), Self::Few(b)) => {
                a.checked_add(*b).map_or_else(|| Self::Many(BigUint::from(*a) + *b), Self::Few)
            }
            (Self::Many(a), Self::Few(b)) | (Self::Few(b), Self::Many(a)) => Self::Many(a + *b),
            (Self::Many(a), Self::Many(b)) => Self::Many(a + b),
        };
    }

    /// Digits in decimal; Python writes no integer of more than `python::DIGITS_MAX`.
    pub fn digits(&self) -> usize {
        match self {
            Self::Few(few) => few.to_string().len(),
            Self::Many(many) => many.to_string().len(),
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Few(few) => few.fmt(f),
            Self::Many(many) => many.fmt(f),
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
            (Self::Few(_), Self::Many(_)) => Ordering::Less,
            (Self::Many(_), Self::Few(_)) => Ordering::Greater,
            (Self::Many(a), Self::Many(b)) => a.cmp(b),
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
        assert_eq!((count.digits(), Count::NONE.digits()), (20, 1));
        assert!(count > half);
    }
}
