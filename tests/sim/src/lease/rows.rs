//! What was written: every instance has a log of rows, and a new primary begins a part of its own.

/// The rows of one instance.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Log {
    /// Who wrote (a number for each promotion, and the node), and how many rows.
    parts: Vec<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    promotion: u64,
    node: usize,
    rows: u64,
}

impl Log {
    /// One more row of this promotion.
    pub(super) fn write(&mut self, promotion: u64, node: usize) {
        match self.parts.last_mut() {
            Some(last) if last.promotion == promotion => last.rows += 1,
            _ => self.parts.push(Part {
                promotion,
                node,
                rows: 1,
            }),
        }
    }

    /// How many rows.
    pub(super) fn position(&self) -> u64 {
        self.parts.iter().map(|part| part.rows).sum()
    }

    /// Does `other` have all of this, at the same places?
    pub(super) fn is_in(&self, other: &Self) -> bool {
        self.common(other) == self.position()
    }

    /// How many rows both begin with.
    pub(super) fn common(&self, other: &Self) -> u64 {
        let mut common = 0;
        for (mine, theirs) in self.parts.iter().zip(&other.parts) {
            if mine.promotion != theirs.promotion {
                break;
            }
            common += mine.rows.min(theirs.rows);
            if mine.rows != theirs.rows {
                break;
            }
        }
        common
    }

    /// Has this node itself written rows here that `other` does not have?
    pub(super) fn has_own_beyond(&self, node: usize, other: &Self) -> bool {
        let mut left = self.common(other);
        self.parts.iter().any(|part| {
            let common = left.min(part.rows);
            left -= common;
            part.node == node && common < part.rows
        })
    }
}
