//! What a person may do: the core's [`Role`], as certificates and command lines spell it.

pub use interlock_model::spec::Role;

/// A text that is no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a role: use reader, operator or admin")]
pub struct UnknownRole(pub String);

/// All roles, the least first.
pub const ROLES: [Role; 3] = [Role::Reader, Role::Operator, Role::Admin];

/// Reads a role as `Display` prints it.
///
/// # Errors
/// [`UnknownRole`] for any other text.
pub fn parse_role(text: &str) -> Result<Role, UnknownRole> {
    let role = match text {
        "reader" => Role::Reader,
        "operator" => Role::Operator,
        "admin" => Role::Admin,
        _ => return Err(UnknownRole(text.to_owned())),
    };
    Ok(role)
}
