//! The callers that a method admits.

use std::fmt;

use crate::identity::{Identity, Role, Subject};

/// The callers that a method admits. Built from the constants, joined with [`or`](Self::or).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    agents: bool,
    coordinators: bool,
    operators: Option<Role>,
}

impl Access {
    /// Agents.
    pub const AGENTS: Self = Self {
        agents: true,
        coordinators: false,
        operators: None,
    };
    /// Coordinators.
    pub const COORDINATORS: Self = Self {
        agents: false,
        coordinators: true,
        operators: None,
    };
    /// People who look, and those with more rights.
    pub const READERS: Self = Self::people(Role::Reader);
    /// People who run operations, and those with more rights.
    pub const OPERATORS: Self = Self::people(Role::Operator);
    /// People who change the spec.
    pub const ADMINS: Self = Self::people(Role::Admin);
    /// Every member of the cluster.
    pub const MEMBERS: Self = Self::AGENTS.or(Self::COORDINATORS).or(Self::READERS);

    const fn people(least: Role) -> Self {
        Self {
            agents: false,
            coordinators: false,
            operators: Some(least),
        }
    }

    /// Whom either admits.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self {
            agents: self.agents || other.agents,
            coordinators: self.coordinators || other.coordinators,
            operators: match (self.operators, other.operators) {
                (Some(one), Some(two)) => Some(if (one as u8) < (two as u8) { one } else { two }),
                (Some(one), None) => Some(one),
                (None, two) => two,
            },
        }
    }

    /// Whether `caller` is admitted.
    #[must_use]
    pub fn admits(&self, caller: &Identity) -> bool {
        match caller.subject() {
            Subject::Agent(_) => self.agents,
            Subject::Coordinator(_) => self.coordinators,
            Subject::Operator { role, .. } => self.operators.is_some_and(|least| *role >= least),
        }
    }

    /// The least role with which a person is admitted.
    #[must_use]
    pub const fn least_role(&self) -> Option<Role> {
        self.operators
    }
}

impl fmt::Display for Access {
    /// What a caller must be: `an agent, or role operator`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let people = match self.operators {
            None => None,
            Some(Role::Reader) => Some("role reader, operator or admin"),
            Some(Role::Operator) => Some("role operator or admin"),
            Some(Role::Admin) => Some("role admin"),
        };
        let words = [
            self.agents.then_some("an agent"),
            self.coordinators.then_some("a coordinator"),
            people,
        ];
        let mut separator = "";
        for word in words.into_iter().flatten() {
            write!(f, "{separator}{word}")?;
            separator = ", or ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::ROLES;

    fn operator(role: Role) -> Identity {
        format!("interlock://acd/operator/anna?role={role}")
            .parse()
            .unwrap()
    }

    #[test]
    fn a_role_includes_the_lesser_ones_and_nothing_else() {
        for (access, least) in [
            (Access::READERS, Role::Reader),
            (Access::OPERATORS, Role::Operator),
            (Access::ADMINS, Role::Admin),
        ] {
            for role in ROLES {
                assert_eq!(
                    access.admits(&operator(role)),
                    role >= least,
                    "{role} at {access}"
                );
            }
            assert!(!access.admits(&"interlock://acd/agent/dbm1".parse().unwrap()));
            assert!(!access.admits(&"interlock://acd/coordinator/mgmt1".parse().unwrap()));
        }
    }

    #[test]
    fn joined_access_admits_whom_either_admits() {
        let both = Access::ADMINS.or(Access::AGENTS).or(Access::OPERATORS);
        assert!(both.admits(&"interlock://acd/agent/dbm1".parse().unwrap()));
        assert!(both.admits(&operator(Role::Operator)));
        assert!(!both.admits(&operator(Role::Reader)));
        assert!(!both.admits(&"interlock://acd/coordinator/mgmt1".parse().unwrap()));
        assert_eq!(both.to_string(), "an agent, or role operator or admin");
    }
}
