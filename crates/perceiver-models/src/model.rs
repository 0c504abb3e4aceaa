use std::fmt::Debug;

use burn::module::Module;
use burn::tensor::{Device, Tensor, assert_shape};
use perceiver_core::{
    AttentionMaps, Encoder, EncoderConfig, EncoderOutput, Latents, OutputOptions, TokenArray,
};
use perceiver_io::{Decoded, Decoder, Postprocessor, Preprocessed, Preprocessor};

use crate::Request;
use crate::config::PerceiverConfig;

/// The Perceiver: preprocessor, latents and encoder, decoder, postprocessor.
///
/// Each part is a type; [`NoPreprocessor`], [`NoDecoder`] and [`NoPostprocessor`] omit one.
///
/// # Source
/// Perceiver IO section 3; `PerceiverModel`.
#[derive(Module, Debug)]
pub struct PerceiverModel<
    P: Module = NoPreprocessor,
    D: Module = NoDecoder,
    O: Module = NoPostprocessor,
> {
    input_preprocessor: P,
    embeddings: Latents,
    encoder: Encoder,
    decoder: D,
    output_postprocessor: O,
}

/// No preprocessor: the input is tokens, `[batch, tokens, d_model]`.
#[derive(Module, Debug)]
pub struct NoPreprocessor {
    channels: usize,
}

/// No decoder: the latents are the result.
#[derive(Module, Debug, Default)]
pub struct NoDecoder;

/// No postprocessor: the decoder's answers are the result.
#[derive(Module, Debug, Default)]
pub struct NoPostprocessor;

/// The output of a [`PerceiverModel`].
///
/// # Source
/// `PerceiverModelOutput`.
#[derive(Debug, Clone)]
pub struct PerceiverModelOutput<T> {
    /// The answers of the decoder, or of the postprocessor.
    pub logits: T,
    /// `[batch, latents, latent_channels]`.
    pub last_hidden_state: Tensor<3>,
    /// The latents before every self-attention layer, and once more after every block.
    pub hidden_states: Option<Vec<Tensor<3>>>,
    /// Probabilities of every self-attention, `[batch, heads, latents, latents]`.
    pub attentions: Option<Vec<Tensor<4>>>,
    /// Probabilities of the encoder's cross-attentions, then of the decoder's.
    pub cross_attentions: Option<Vec<Tensor<4>>>,
}

/// Where a model attends: the maps of its cross-attentions.
#[derive(Debug, Clone)]
pub struct CrossAttentionMaps {
    /// Where the latents attend in the input, `[batch, heads, latents, tokens]` in all.
    pub encoder: AttentionMaps,
    /// Where the answers attend in the latents, `[batch, heads, queries, latents]`; `None` for a
    /// model without a decoder.
    pub decoder: Option<Tensor<4>>,
}

/// An input encoded into latents, to be decoded once or often.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// The input's tokens.
    pub inputs: Preprocessed,
    /// The latents, and what else the encoder returned.
    pub encoder: EncoderOutput,
}

impl<P: Preprocessor, D: Module, O: Module> PerceiverModel<P, D, O> {
    /// Joins the given parts by a fresh latent array and encoder.
    ///
    /// # Panics
    /// If `config` does not pass [`PerceiverConfig::validate_encoder`] for the preprocessor's
    /// tokens.
    #[must_use]
    pub fn new(
        config: &PerceiverConfig,
        input_preprocessor: P,
        decoder: D,
        output_postprocessor: O,
        device: &Device,
    ) -> Self {
        let encoder = config.encoder(input_preprocessor.channels());
        Self::with_encoder(
            config,
            &encoder,
            input_preprocessor,
            decoder,
            output_postprocessor,
            device,
        )
    }

    /// Joins the given parts by a fresh latent array and an encoder of other sizes than the
    /// configuration's, such as one with several cross-attentions.
    ///
    /// # Panics
    /// As [`new`](Self::new) does, or if the encoder takes tokens with more or fewer channels.
    #[must_use]
    pub fn with_encoder(
        config: &PerceiverConfig,
        encoder: &EncoderConfig,
        input_preprocessor: P,
        decoder: D,
        output_postprocessor: O,
        device: &Device,
    ) -> Self {
        let channels = input_preprocessor.channels();
        if let Err(error) = config.validate_encoder(channels) {
            panic!("{error}");
        }
        let expected = encoder.cross_attention.attention.input_channels;
        assert!(
            channels == expected,
            "tokens have {channels} channels, the encoder takes {expected}"
        );
        let init = config.initialisation();
        Self {
            input_preprocessor,
            embeddings: Latents::new(config.num_latents, config.d_latents, init, device),
            encoder: Encoder::new(encoder, init, device),
            decoder,
            output_postprocessor,
        }
    }

    /// The input preprocessor.
    #[must_use]
    pub const fn input_preprocessor(&self) -> &P {
        &self.input_preprocessor
    }

    /// The decoder.
    #[must_use]
    pub const fn decoder(&self) -> &D {
        &self.decoder
    }

    /// The output postprocessor.
    #[must_use]
    pub const fn output_postprocessor(&self) -> &O {
        &self.output_postprocessor
    }
}

impl<P: Preprocessor, D: Decoder, O: Module> PerceiverModel<P, D, O> {
    /// Encodes an input into latents. Ignores the points.
    ///
    /// # Panics
    /// If the preprocessor does, or the mask has another shape than the tokens.
    #[must_use]
    pub fn encode(&self, request: impl Into<Request<P::Input, (), D::Points>>) -> Encoded {
        let Request { input, mask, outputs, .. } = request.into();
        let inputs = self.input_preprocessor.forward(input);
        let latents = self.latents(&inputs);
        let encoder = self.encoder.forward(&latents, &inputs.tokens, mask.as_ref(), outputs);
        Encoded { inputs, encoder }
    }

    /// Computes where the latents attend in the input, in bounded memory.
    ///
    /// The maps are those of [`forward`](Self::forward), which holds all of them at once.
    ///
    /// # Shapes
    /// - returns: `[batch, heads, latents, tokens]` in all
    ///
    /// # Panics
    /// If the preprocessor does, or the mask has another shape than the tokens.
    #[must_use]
    pub fn encoder_maps(
        &self,
        request: impl Into<Request<P::Input, (), D::Points>>,
    ) -> AttentionMaps {
        let Request { input, mask, .. } = request.into();
        let inputs = self.input_preprocessor.forward(input);
        self.encoder.maps(&self.latents(&inputs), &inputs.tokens, mask.as_ref())
    }

    fn latents(&self, inputs: &Preprocessed) -> TokenArray {
        let [batch, ..] = inputs.dims();
        self.embeddings.forward(batch)
    }
}

impl<P, D, O> PerceiverModel<P, D, O>
where
    P: Preprocessor,
    D: Decoder,
    O: Postprocessor<D::Output>,
{
    /// Decodes an encoded input.
    #[must_use]
    pub fn decode(&self, encoded: &Encoded, points: &D::Points) -> Decoded<O::Output> {
        self.decode_and(encoded, points, false)
    }

    /// Decodes an encoded input, and returns the attention probabilities too.
    #[must_use]
    pub fn decode_with_attentions(
        &self,
        encoded: &Encoded,
        points: &D::Points,
    ) -> Decoded<O::Output> {
        self.decode_and(encoded, points, true)
    }

    fn decode_and(
        &self,
        encoded: &Encoded,
        points: &D::Points,
        attentions: bool,
    ) -> Decoded<O::Output> {
        let queries = self.decoder.queries(&encoded.inputs, points);
        let latents = encoded.encoder.last_hidden_state.clone();
        let decoded = self.decoder.forward(&queries, latents, attentions);
        let sizes = self.decoder.sizes(&queries);
        Decoded {
            logits: self.output_postprocessor.forward(decoded.logits, &sizes),
            cross_attentions: decoded.cross_attentions,
        }
    }

    /// Computes where the latents attend in the input, as [`encoder_maps`](Self::encoder_maps)
    /// does, and where the answers attend in the latents.
    ///
    /// # Panics
    /// If the preprocessor does, or the mask has another shape than the tokens.
    #[must_use]
    pub fn cross_attention_maps(
        &self,
        request: impl Into<Request<P::Input, (), D::Points>>,
    ) -> CrossAttentionMaps {
        let Request { input, mask, points, .. } = request.into();
        let inputs = self.input_preprocessor.forward(input);
        let latents = self.latents(&inputs);
        let mask = mask.as_ref();
        let options = OutputOptions::default();
        let encoded = self.encoder.forward(&latents, &inputs.tokens, mask, options);
        let queries = self.decoder.queries(&inputs, &points);
        let decoded = self.decoder.forward(&queries, encoded.last_hidden_state, true);
        let encoder = self.encoder.maps(&latents, &inputs.tokens, mask);
        CrossAttentionMaps { encoder, decoder: decoded.cross_attentions }
    }

    /// Encodes an input and decodes it.
    ///
    /// # Panics
    /// If the preprocessor does, or the mask has another shape than the tokens.
    #[must_use]
    pub fn forward(
        &self,
        request: impl Into<Request<P::Input, (), D::Points>>,
    ) -> PerceiverModelOutput<O::Output> {
        let request = request.into();
        let (points, outputs) = (request.points.clone(), request.outputs);
        let encoded = self.encode(request);
        let decoded = self.decode_and(&encoded, &points, outputs.attentions);
        PerceiverModelOutput::new(encoded.encoder, decoded)
    }
}

impl<T> PerceiverModelOutput<T> {
    pub(crate) fn new(encoder: EncoderOutput, decoded: Decoded<T>) -> Self {
        let mut cross_attentions = encoder.cross_attentions;
        if let Some(maps) = &mut cross_attentions {
            maps.extend(decoded.cross_attentions);
        }
        Self {
            logits: decoded.logits,
            last_hidden_state: encoder.last_hidden_state,
            hidden_states: encoder.hidden_states,
            attentions: encoder.attentions,
            cross_attentions,
        }
    }
}

impl NoPreprocessor {
    /// For tokens of `channels` channels: `d_model` in the configuration.
    #[must_use]
    pub const fn new(channels: usize) -> Self {
        Self { channels }
    }
}

impl Preprocessor for NoPreprocessor {
    /// `[batch, tokens, d_model]`.
    type Input = Tensor<3>;

    fn channels(&self) -> usize {
        self.channels
    }

    /// # Panics
    /// If the tokens have other channels than `d_model`.
    fn forward(&self, tokens: Tensor<3>) -> Preprocessed {
        assert_shape!(tokens, [_, _, self.channels]);
        Preprocessed::from_content(tokens)
    }
}

impl Decoder for NoDecoder {
    type Points = ();
    type Queries = ();
    type Output = ();

    fn queries(&self, _: &Preprocessed, (): &()) {}

    fn sizes(&self, (): &()) -> Vec<usize> {
        Vec::new()
    }

    fn forward(&self, (): &(), _: Tensor<3>, _: bool) -> Decoded<()> {
        Decoded { logits: (), cross_attentions: None }
    }
}

impl<T> Postprocessor<T> for NoPostprocessor {
    type Output = T;

    fn forward(&self, answers: T, _: &[usize]) -> T {
        answers
    }
}
