//! Dependencies in numbers. pycti counts an object as often as it is referred to, so that each layer of a web doubles
//! them. Python's integers grow without end; a count here has one size, whatever the bundle, and stops at a bound.

use std::fmt;

use crate::limits::DEPENDENCY_DIGITS_MAX;

/// How many dependencies an object has: its `nb_deps`. Two halves of 32 decimal digits each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count {
    high: u128,
    low: u128,
}

/// One more than a half holds.
const HALF: u128 = 10_u128.pow(DEPENDENCY_DIGITS_MAX / 2);

impl Count {
    /// What an object has that refers to nothing: itself.
    pub const ONE: Self = Self { high: 0, low: 1 };
    /// What is not in the bundle counts for nothing.
    pub const NONE: Self = Self { high: 0, low: 0 };
    /// More digits than [`DEPENDENCY_DIGITS_MAX`]; how many more does not matter, for nothing is made of it.
    const TOO_MANY: Self = Self { high: HALF, low: 0 };

    /// Counts these too.
    pub fn add(&mut self, more: &Self) {
        // Each half is at most 10^32, so that no sum of two comes near 2^128.
        let low = self.low + more.low;
        let (carry, low) = if low < HALF { (0, low) } else { (1, low - HALF) };
        let high = self.high + more.high + carry;
        *self = if high < HALF { Self { high, low } } else { Self::TOO_MANY };
    }

    /// Whether it has no more than [`DEPENDENCY_DIGITS_MAX`] digits.
    pub fn is_bounded(&self) -> bool {
        self.high < HALF
    }

    /// How many digits it is written in.
    pub fn digits(&self) -> usize {
        let of = |half: u128| half.checked_ilog10().map_or(1, |log| log as usize + 1);
        if self.high == 0 { of(self.low) } else { of(self.high) + DEPENDENCY_DIGITS_MAX as usize / 2 }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.high == 0 {
            return self.low.fmt(f);
        }
        write!(f, "{}{:0width$}", self.high, self.low, width = DEPENDENCY_DIGITS_MAX as usize / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2^exponent, by so many doublings.
    fn doubled(exponent: u32) -> Count {
        let mut count = Count::ONE;
        for _ in 0..exponent {
            count.add(&count.clone());
        }
        count
    }

    #[test]
    fn count_beyond_a_machine_word_keeps_every_digit() {
        assert_eq!(doubled(64).to_string(), "18446744073709551616");
        assert_eq!(doubled(128).to_string(), "340282366920938463463374607431768211456");
        let mut count = doubled(200);
        assert_eq!(count.to_string(), "1606938044258990275541962092341162602522202993782792835301376");
        count.add(&doubled(106));
        assert_eq!(count.to_string(), "1606938044258990275541962092422292240936809675478581840445440");
        assert!(count > doubled(200) && doubled(200) < doubled(201) && doubled(107) > doubled(106));
    }

    #[test]
    fn count_with_zeros_in_its_lower_half_prints_them() {
        let mut count = Count { high: 0, low: HALF - 1 };
        count.add(&Count::ONE);
        assert_eq!(count.to_string(), format!("1{}", "0".repeat(32)));
        count.add(&Count::ONE);
        assert_eq!(count.to_string(), format!("1{}1", "0".repeat(31)));
    }

    #[test]
    fn count_knows_how_many_digits_it_has() {
        for count in [Count::NONE, Count::ONE, doubled(9), doubled(10), doubled(106), doubled(107), doubled(212)] {
            assert_eq!(count.digits(), count.to_string().len());
        }
    }

    #[test]
    fn count_of_more_digits_than_the_bound_no_longer_grows() {
        let last = doubled(212);
        assert!(last.is_bounded() && last.digits() == 64 && Count::NONE.is_bounded());
        let over = doubled(213);
        assert!(!over.is_bounded());
        assert_eq!(over, doubled(100_000));
        assert!(last < over);
        let mut still = over;
        still.add(&Count::ONE);
        assert_eq!(still, over);
    }
}
