//! The one place that lists the parameters of a layer. Everything that walks through all parameters (updates, penalty,
//! gradient check, files) uses the iterators [`Network::parameters`] and [`Gradients::parameters`].

use klayer_linalg::Scalar;

use crate::gradients::{Gradients, LayerGradients};
use crate::layer::Layer;
use crate::network::Network;
use crate::parameters::{Parameter, Part, Tensor, TensorMut};

/// Lists the parameters of a layer, or their gradients.
macro_rules! list {
    ($layer:ident) => {
        impl<T: Scalar> $layer<T> {
            /// All kinds of parameters that the layer has, in the order of [`Parameter::ALL`].
            pub fn parameters(&self) -> impl Iterator<Item = (Parameter, Tensor<'_, T>)> {
                let Self { affine, batch_norm } = self;
                let affine = [
                    (Parameter::Weight, Tensor::Matrix(&affine.weight)),
                    (Parameter::Bias, Tensor::Vector(&affine.bias)),
                ];
                let batch_norm = batch_norm.as_ref().map(|norm| {
                    [(Parameter::Gamma, Tensor::Vector(&norm.gamma)), (Parameter::Beta, Tensor::Vector(&norm.beta))]
                });
                affine.into_iter().chain(batch_norm.into_iter().flatten())
            }

            /// All kinds of parameters, mutable.
            pub fn parameters_mut(&mut self) -> impl Iterator<Item = (Parameter, TensorMut<'_, T>)> {
                let Self { affine, batch_norm } = self;
                let affine = [
                    (Parameter::Weight, TensorMut::Matrix(&mut affine.weight)),
                    (Parameter::Bias, TensorMut::Vector(&mut affine.bias)),
                ];
                let batch_norm = batch_norm.as_mut().map(|norm| {
                    [
                        (Parameter::Gamma, TensorMut::Vector(&mut norm.gamma)),
                        (Parameter::Beta, TensorMut::Vector(&mut norm.beta)),
                    ]
                });
                affine.into_iter().chain(batch_norm.into_iter().flatten())
            }
        }
    };
}

list!(Layer);
list!(LayerGradients);

impl<T: Scalar> Network<T> {
    /// All parameters, layer by layer.
    ///
    /// ```
    /// use klayer_linalg::random::stream;
    /// use klayer_nn::{Architecture, Init, Network};
    ///
    /// let architecture = Architecture::new(4, &[8], 3, true)?;
    /// let network = Network::<f32>::new(&architecture, Init::He, &mut stream(42, "init"))?;
    /// let parts = network.parameters().map(|part| (part.layer, part.kind.symbol(), part.values.len()));
    /// let parts: Vec<_> = parts.collect();
    /// assert_eq!(parts, [(0, "W", 32), (0, "b", 8), (0, "gamma", 8), (0, "beta", 8), (1, "W", 24), (1, "b", 3)]);
    /// # Ok::<(), klayer_nn::Error>(())
    /// ```
    pub fn parameters(&self) -> impl Iterator<Item = Part<Tensor<'_, T>>> {
        parts(self.layers().iter().map(Layer::parameters))
    }

    /// All parameters, mutable.
    pub fn parameters_mut(&mut self) -> impl Iterator<Item = Part<TensorMut<'_, T>>> {
        parts(self.layers_mut().iter_mut().map(Layer::parameters_mut))
    }
}

impl<T: Scalar> Gradients<T> {
    /// The gradients of all parameters, in the order of [`Network::parameters`].
    pub fn parameters(&self) -> impl Iterator<Item = Part<Tensor<'_, T>>> {
        parts(self.layers.iter().map(LayerGradients::parameters))
    }

    /// The gradients of all parameters, mutable.
    pub fn parameters_mut(&mut self) -> impl Iterator<Item = Part<TensorMut<'_, T>>> {
        parts(self.layers.iter_mut().map(LayerGradients::parameters_mut))
    }
}

/// Adds the index of the layer.
fn parts<V>(layers: impl Iterator<Item = impl Iterator<Item = (Parameter, V)>>) -> impl Iterator<Item = Part<V>> {
    let numbered = |(layer, parts)| Iterator::map(parts, move |(kind, values)| Part { layer, kind, values });
    layers.enumerate().flat_map(numbered)
}
