//! Enumerations: total in both directions.

use interlock_model::action::Power;
use interlock_model::attempt::AttemptState;
use interlock_model::check::Verdict;
use interlock_model::observation::{InstanceState, Liveness, Side, Wanted};

use crate::v1;

macro_rules! pairs {
    ($core:ident, $wire:ident, $unspecified:ident, [$($variant:ident),* $(,)?]) => {
        impl From<$core> for v1::$wire {
            fn from(value: $core) -> Self {
                match value { $($core::$variant => Self::$variant,)* }
            }
        }
        impl From<v1::$wire> for $core {
            fn from(value: v1::$wire) -> Self {
                match value {
                    v1::$wire::Unspecified => Self::$unspecified,
                    $(v1::$wire::$variant => Self::$variant,)*
                }
            }
        }
    };
}

pairs!(Verdict, Verdict, Unknown, [Ok, Bad, Unknown]);
pairs!(Power, Power, Unknown, [On, Off, Unknown]);
pairs!(Side, Side, Unknown, [Primary, Standby, Changing, Unknown]);
pairs!(
    Liveness,
    Liveness,
    Unheard,
    [Alive, Late, Lost, Left, Unheard]
);
pairs!(
    AttemptState,
    AttemptState,
    Unknown,
    [
        Accepted, GoingDown, Done, Failed, Unknown, Refused, NeverSeen
    ]
);
pairs!(
    InstanceState,
    InstanceState,
    Unknown,
    [
        Starting, Running, Paused, Stopping, Stopped, Failed, Unknown
    ]
);

impl From<Option<Wanted>> for v1::Wanted {
    fn from(value: Option<Wanted>) -> Self {
        match value {
            None => Self::Unspecified,
            Some(Wanted::Running) => Self::Running,
            Some(Wanted::Stopped) => Self::Stopped,
        }
    }
}

impl From<v1::Wanted> for Option<Wanted> {
    fn from(value: v1::Wanted) -> Self {
        match value {
            v1::Wanted::Unspecified => None,
            v1::Wanted::Running => Some(Wanted::Running),
            v1::Wanted::Stopped => Some(Wanted::Stopped),
        }
    }
}
