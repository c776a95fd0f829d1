//! The UUID of a machine, as firmware and hypervisors write it.

use std::fmt;
use std::str::FromStr;

/// A UUID that can be an identity: not the two that firmware gives to machines without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Uuid([u8; 16]);

impl Uuid {
    /// Are both one machine's?
    ///
    /// The same bytes are read in two ways. SMBIOS stores the first three fields with the low byte first, which older
    /// tables and some hypervisors ignore (DMTF DSP0134, 7.2.1 "System - UUID"): a guest's `product_uuid` and the UUID
    /// that its hypervisor shows may differ in the order of these bytes. Swapped they are still 128 bits: no other
    /// machine has them by chance.
    pub(super) fn is_same_machine(self, other: Self) -> bool {
        self == other || self.swapped() == other
    }

    fn swapped(self) -> Self {
        let mut bytes = self.0;
        bytes[0..4].reverse();
        bytes[4..6].reverse();
        bytes[6..8].reverse();
        Self(bytes)
    }
}

/// A text is not the UUID of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoUuid;

impl FromStr for Uuid {
    type Err = NoUuid;

    /// Reads 32 hexadecimal digits, in one or in the usual five groups.
    fn from_str(text: &str) -> Result<Self, NoUuid> {
        let groups: Vec<&str> = text.trim().split('-').collect();
        let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
        if lengths != [8, 4, 4, 4, 12] && lengths != [32] {
            return Err(NoUuid);
        }
        let digits = groups.concat();
        let mut bytes = [0; 16];
        for (byte, at) in bytes.iter_mut().zip((0..32).step_by(2)) {
            let pair = digits.get(at..at + 2).ok_or(NoUuid)?;
            if !pair.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(NoUuid);
            }
            *byte = u8::from_str_radix(pair, 16).map_err(|_| NoUuid)?;
        }
        // DSP0134: all ones is "not present, but can be set", all zeros is "not present".
        if bytes == [0; 16] || bytes == [0xff; 16] {
            return Err(NoUuid);
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uuid(text: &str) -> Uuid {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_read_is_written_in_five_groups() {
        for text in [
            "564D1A2B-3C4D-5E6F-7081-92A3B4C5D6E7",
            "564d1a2b3c4d5e6f708192a3b4c5d6e7",
        ] {
            assert_eq!(
                uuid(text).to_string(),
                "564d1a2b-3c4d-5e6f-7081-92a3b4c5d6e7"
            );
        }
    }

    #[test]
    fn a_guest_may_read_the_first_three_fields_the_other_way_round() {
        let hypervisor = uuid("564d1a2b-3c4d-5e6f-7081-92a3b4c5d6e7");
        assert!(hypervisor.is_same_machine(uuid("2b1a4d56-4d3c-6f5e-7081-92a3b4c5d6e7")));
        assert!(!hypervisor.is_same_machine(uuid("2b1a4d56-4d3c-6f5e-8170-92a3b4c5d6e7")));
    }

    #[test]
    fn the_uuids_of_machines_without_one_are_no_identity() {
        for text in [
            "00000000-0000-0000-0000-000000000000",
            "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
            "564d1a2b-3c4d-5e6f-7081-92a3b4c5d6e",
            "+64d1a2b-3c4d-5e6f-7081-92a3b4c5d6e7",
            "db1",
            "",
        ] {
            assert!(text.parse::<Uuid>().is_err(), "{text}");
        }
    }
}
