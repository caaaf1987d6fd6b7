//! Handles: the values that a saga's steps will have, and how a step takes one or several of them as its input.

use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::graph::Source;
use crate::payload::{Payload, PayloadError};

/// The value that the saga's input or a step will have.
pub struct Handle<T> {
    pub(super) source: Source,
    pub(super) saga: Arc<str>,
    pub(super) value: PhantomData<fn() -> T>,
}

/// The handles that a step takes as input: one, or a tuple of up to four.
pub trait Inputs: Send + Sync + 'static {
    /// The values that the step's action sees.
    type Value: Send;

    /// Where the values come from, in order, each with the saga it belongs to.
    fn sources(&self) -> Vec<(Source, Arc<str>)>;

    /// The values from their stored JSON, in the order of [`Inputs::sources`].
    fn decode(stored: &[Payload]) -> Result<Self::Value, PayloadError>;
}

impl<T: DeserializeOwned + Send + 'static> Inputs for Handle<T> {
    type Value = T;

    fn sources(&self) -> Vec<(Source, Arc<str>)> {
        vec![(self.source, Arc::clone(&self.saga))]
    }

    fn decode(stored: &[Payload]) -> Result<T, PayloadError> {
        stored[0].to()
    }
}

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        Self {
            source: self.source,
            saga: Arc::clone(&self.saga),
            value: PhantomData,
        }
    }
}

macro_rules! inputs_of_tuples {
    ($($name:ident $index:tt),+) => {
        impl<$($name: DeserializeOwned + Send + 'static),+> Inputs for ($(Handle<$name>,)+) {
            type Value = ($($name,)+);

            fn sources(&self) -> Vec<(Source, Arc<str>)> {
                vec![$((self.$index.source, Arc::clone(&self.$index.saga))),+]
            }

            fn decode(stored: &[Payload]) -> Result<Self::Value, PayloadError> {
                Ok(($(stored[$index].to::<$name>()?,)+))
            }
        }
    };
}
inputs_of_tuples!(A 0, B 1);
inputs_of_tuples!(A 0, B 1, C 2);
inputs_of_tuples!(A 0, B 1, C 2, D 3);

/// What may stand for the inputs of a step: a reference to a handle, or a tuple of references.
pub trait Wiring {
    /// The owned handles.
    type Inputs: Inputs;
    /// The handles, owned.
    fn inputs(self) -> Self::Inputs;
}

impl<T: DeserializeOwned + Send + 'static> Wiring for &Handle<T> {
    type Inputs = Handle<T>;
    fn inputs(self) -> Handle<T> {
        self.clone()
    }
}

macro_rules! wiring_of_tuples {
    ($($name:ident $index:tt),+) => {
        impl<$($name: DeserializeOwned + Send + 'static),+> Wiring for ($(&Handle<$name>,)+) {
            type Inputs = ($(Handle<$name>,)+);
            fn inputs(self) -> Self::Inputs {
                ($(self.$index.clone(),)+)
            }
        }
    };
}
wiring_of_tuples!(A 0, B 1);
wiring_of_tuples!(A 0, B 1, C 2);
wiring_of_tuples!(A 0, B 1, C 2, D 3);
