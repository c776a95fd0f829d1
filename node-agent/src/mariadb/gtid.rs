//! Transactions by their global ids (`DOMAIN-SERVER-NUMBER`), without any I/O.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// The id of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gtid {
    /// The domain: one stream of transactions, numbered through.
    pub domain: u32,
    /// Which server made it.
    pub server: u32,
    /// Its number in the domain.
    pub number: u64,
}

/// The last transaction of each server in each domain. Of a position, one for each domain.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Gtids {
    last: BTreeMap<(u32, u32), u64>,
}

impl fmt::Display for Gtid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.domain, self.server, self.number)
    }
}

impl FromStr for Gtid {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is no GTID");
        let mut numbers = text.trim().splitn(3, '-');
        let mut next = || numbers.next().ok_or_else(bad);
        Ok(Self {
            domain: next()?.parse().map_err(|_| bad())?,
            server: next()?.parse().map_err(|_| bad())?,
            number: next()?.parse().map_err(|_| bad())?,
        })
    }
}

impl FromStr for Gtids {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut all = Self::default();
        for one in text.split(',').map(str::trim).filter(|it| !it.is_empty()) {
            all.add(one.parse()?);
        }
        Ok(all)
    }
}

impl fmt::Display for Gtids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, gtid) in self.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{gtid}")?;
        }
        Ok(())
    }
}

impl Gtids {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Gtid> + '_ {
        self.last.iter().map(|((domain, server), number)| Gtid {
            domain: *domain,
            server: *server,
            number: *number,
        })
    }

    /// None at all?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.last.is_empty()
    }

    /// The number of the last transaction of this server in this domain; nothing if none is known.
    #[must_use]
    pub fn of(&self, domain: u32, server: u32) -> Option<u64> {
        self.last.get(&(domain, server)).copied()
    }

    /// The last transaction of a domain; nothing if none is known.
    #[must_use]
    pub fn last_of(&self, domain: u32) -> Option<Gtid> {
        let here = self.iter().filter(|gtid| gtid.domain == domain);
        here.max_by_key(|gtid| gtid.number)
    }

    /// What both know.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let mut all = self.clone();
        other.iter().for_each(|gtid| all.add(gtid));
        all
    }

    fn add(&mut self, gtid: Gtid) {
        let last = self.last.entry((gtid.domain, gtid.server)).or_default();
        *last = gtid.number.max(*last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_gtids_is_read_and_written() {
        let all: Gtids = "0-1-9,\n0-2-10,1-1-3".parse().unwrap();
        assert_eq!(all.to_string(), "0-1-9,0-2-10,1-1-3");
        assert_eq!(all.of(0, 1), Some(9));
        assert_eq!(all.of(0, 3), None);
        assert_eq!(all.last_of(0).unwrap().to_string(), "0-2-10");
        assert!("".parse::<Gtids>().unwrap().is_empty());
        for bad in ["0-1", "0-1-x", "0-1-9-2", "NULL", "-1-2-3"] {
            assert!(bad.parse::<Gtids>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_two_know_is_the_later_of_each() {
        let one: Gtids = "0-1-9,0-2-4".parse().unwrap();
        let other: Gtids = "0-1-7,0-3-12".parse().unwrap();
        assert_eq!(one.and(&other).to_string(), "0-1-9,0-2-4,0-3-12");
    }
}
