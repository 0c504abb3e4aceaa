use burn::tensor::Tensor;
use perceiver_core::{KeyMask, OutputOptions};
use perceiver_io::ImageInput;

/// One input and everything else a call may ask for.
///
/// An input alone is a request, so `head.forward(ids)` is enough; name the rest when you need it:
///
/// ```
/// # use burn::tensor::{Device, Int, Tensor};
/// use perceiver_models::{KeyMask, PerceiverHead, Request};
/// # use perceiver_models::{PerceiverConfig, PerceiverForMaskedLM};
/// # fn main() -> Result<(), perceiver_models::Error> {
/// # let device = Device::flex();
/// # let config = PerceiverConfig::from_json(r#"{"num_latents": 4, "d_latents": 8, "d_model": 8,
/// #     "num_self_attends_per_block": 1, "max_position_embeddings": 6}"#)?;
/// # let head = PerceiverForMaskedLM::from_config(&config, &device)?;
/// # let ids = Tensor::<2, Int>::from_data([[4, 110, 5, 0]], &device);
/// # let kept = Tensor::<2, Int>::from_data([[1, 1, 1, 0]], &device);
/// # let labels = Tensor::<2, Int>::from_data([[-100, 110, -100, -100]], &device);
///
/// let logits = head.forward(ids.clone()).logits;
///
/// let mask = KeyMask::from_attention_mask(kept);
/// let output = head.forward(Request::new(ids).mask(mask).labels(labels).attentions());
/// let (loss, maps) = (output.loss, output.cross_attentions);
/// # let _ = (logits, loss.unwrap(), maps.unwrap());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Request<I, L = (), P = ()> {
    /// The input of the model.
    pub input: I,
    /// `[batch, tokens]`, the tokens hidden from the latents.
    pub mask: Option<KeyMask>,
    /// The expected output; with labels, heads return a loss.
    pub labels: Option<L>,
    /// The output elements to compute, for decoders that offer a choice.
    pub points: P,
    /// Hidden states and attention maps to return.
    pub outputs: OutputOptions,
}

impl<I, L, P: Default> Request<I, L, P> {
    /// Asks for the result alone.
    #[must_use]
    pub fn new(input: I) -> Self {
        Self {
            input,
            mask: None,
            labels: None,
            points: P::default(),
            outputs: OutputOptions::default(),
        }
    }
}

impl<I, L, P> Request<I, L, P> {
    /// Hides some tokens from the latents. Takes a mask, or an `Option` of one.
    ///
    /// # Shapes
    /// - `mask`: `[batch, tokens]`
    #[must_use]
    pub fn mask(mut self, mask: impl Into<Option<KeyMask>>) -> Self {
        self.mask = mask.into();
        self
    }

    /// Asks for the loss.
    #[must_use]
    pub fn labels(mut self, labels: L) -> Self {
        self.labels = Some(labels);
        self
    }

    /// Asks for some output elements instead of all.
    #[must_use]
    pub fn points(mut self, points: P) -> Self {
        self.points = points;
        self
    }

    /// Returns the latents before every self-attention layer and after every block.
    #[must_use]
    pub const fn hidden_states(mut self) -> Self {
        self.outputs.hidden_states = true;
        self
    }

    /// Returns the attention probabilities of every layer.
    #[must_use]
    pub const fn attentions(mut self) -> Self {
        self.outputs.attentions = true;
        self
    }

    /// Takes the labels out: a [`PerceiverModel`](crate::PerceiverModel) has no use for them.
    #[must_use]
    pub fn split_labels(self) -> (Request<I, (), P>, Option<L>) {
        let Self { input, mask, labels, points, outputs } = self;
        (Request { input, mask, labels: None, points, outputs }, labels)
    }

    /// Asks the same about another form of the input.
    #[must_use]
    pub fn map_input<J>(self, map: impl FnOnce(I) -> J) -> Request<J, L, P> {
        let Self { input, mask, labels, points, outputs } = self;
        Request { input: map(input), mask, labels, points, outputs }
    }

    /// Asks the same with another form of the points.
    #[must_use]
    pub fn map_points<Q>(self, map: impl FnOnce(P) -> Q) -> Request<I, L, Q> {
        let Self { input, mask, labels, points, outputs } = self;
        Request { input, mask, labels, points: map(points), outputs }
    }
}

impl<I, L, P: Default> From<I> for Request<I, L, P> {
    fn from(input: I) -> Self {
        Self::new(input)
    }
}

/// Images and videos are inputs of an image preprocessor as they are.
macro_rules! pixels {
    ($rank:literal) => {
        impl<L, P: Default> From<Tensor<$rank>> for Request<ImageInput, L, P> {
            fn from(pixels: Tensor<$rank>) -> Self {
                Self::new(pixels.into())
            }
        }

        impl<L, P> From<Request<Tensor<$rank>, L, P>> for Request<ImageInput, L, P> {
            fn from(request: Request<Tensor<$rank>, L, P>) -> Self {
                request.map_input(ImageInput::from)
            }
        }
    };
}
pixels!(4);
pixels!(5);
