//! Secrets of a template: named here, and put in by the agent on whose node they lie.
//!
//! What stands for a secret while its template is rendered has no value, so nothing can be made of it that would be right: a
//! filter would change the word that stands for it, a comparison would look at that word, an escaped text would have the
//! value unescaped. So a secret is written by itself, `{{ secret("NAME") }}`, and everything else is refused:
//!
//! * What makes a text of it (filters, `~`, `join`, `tojson`) or asks whether it is true is noticed by the value itself.
//! * What looks at it in another way (`==`, `in`) leaves it unwritten.
//! * What is written where it can be changed afterwards (`{% set %}` and `{% filter %}` with a block) does not reach the text at
//!   once.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use interlock_model::names::LocalName;
use minijinja::value::{Object, ObjectRepr, Value};
use minijinja::{Environment, Error, ErrorKind, Output, State, escape_formatter};

use super::sink::Sink;

/// What is written to see where it goes.
const PROBE: &str = "?";

/// What stands for a secret.
#[derive(Debug)]
struct Secret {
    number: usize,
    name: LocalName,
    sink: Arc<Mutex<Sink>>,
}

impl Secret {
    fn used(&self) {
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        sink.used(self.number);
    }
}

impl Object for Secret {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn is_true(self: &Arc<Self>) -> bool {
        self.used();
        true
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.used();
        write!(f, "<secret {}>", self.name)
    }
}

/// How a secret may be used, for who used one otherwise.
pub(super) fn rule(name: &LocalName) -> String {
    format!(
        "the secret {name} is put in on the node, and its value is not known here: write {{{{ secret(\"{name}\") }}}} by \
         itself, in no filter, comparison, condition or block that is kept"
    )
}

/// Gives templates the function, and sees to where what it gives is written.
pub(super) fn add(jinja: &mut Environment<'_>, sink: &Arc<Mutex<Sink>>) {
    let named = Arc::clone(sink);
    jinja.add_function("secret", move |name: String| {
        let name: LocalName = name.parse().map_err(|_| {
            let what = format!(
                "'{name}' is no name of a secret: that has letters, digits and any of - _ ."
            );
            Error::new(ErrorKind::InvalidOperation, what)
        })?;
        let mut sink = named.lock().unwrap_or_else(PoisonError::into_inner);
        let number = sink.name(name.clone());
        Ok(Value::from_object(Secret {
            number,
            name,
            sink: Arc::clone(&named),
        }))
    });
    let sink = Arc::clone(sink);
    jinja.set_formatter(move |out, state, value| write(&sink, out, state, value));
}

fn write(
    sink: &Arc<Mutex<Sink>>,
    out: &mut Output<'_>,
    state: &mut State<'_, '_>,
    value: &Value,
) -> Result<(), Error> {
    let Some(secret) = value.downcast_object_ref::<Secret>() else {
        return escape_formatter(out, state, value);
    };
    let len = || sink.lock().unwrap_or_else(PoisonError::into_inner).len();
    let before = len();
    out.write_str(PROBE)?;
    if len() == before {
        return Err(Error::new(ErrorKind::InvalidOperation, rule(&secret.name)));
    }
    let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
    sink.back_to(before);
    sink.put(secret.number);
    Ok(())
}
