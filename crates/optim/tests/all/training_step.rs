use klayer_linalg::random::stream;
use klayer_linalg::{ColMajor, Images, Par, Pixels, Scalar};
use klayer_nn::model_file::{MODEL, encode};
use klayer_nn::{Activation, Architecture, Gradients, Init, Network, Objective, Workspace};
use klayer_optim::{Error, L2, Method, Momentum, Optimizer, OptimizerState};

const BATCH: usize = 50;
const INPUTS: usize = 1668;

/// A training run whose first layer runs on the kernels, and whose second is packed.
struct Training<T> {
    network: Network<T>,
    workspace: Workspace<T>,
    gradients: Gradients<T>,
    images: Vec<&'static [u8]>,
    mean: Vec<T>,
    scale: Vec<T>,
    /// The images as numbers, if the run uses them.
    columns: Option<ColMajor<T>>,
    labels: Vec<u8>,
    optimizer: Optimizer<T>,
    par: Par,
    /// Number of steps so far.
    steps: u64,
}

impl<T: Scalar> Training<T> {
    fn new(batch_norm: bool, par: Par) -> Self {
        Self::with_hidden(&[130, 160], batch_norm, par)
    }

    /// A network with every activation, dropout and label smoothing.
    fn with_all_methods(mut self) -> Self {
        let architecture = self.network.architecture().clone();
        let architecture = architecture.with_activations(&[Activation::Modulus, Activation::Gelu]).unwrap();
        let objective = Objective::default().with_dropout(0.1, 3).unwrap().with_smoothing(0.1).unwrap();
        self.network = Network::new(&architecture, Init::HeLecun, &mut stream(42, "init")).unwrap();
        self.workspace = Workspace::new(&architecture, BATCH, self.par.clone());
        self.optimizer = Optimizer::new(&architecture, Method::Sgd, L2::new(1e-3).unwrap(), self.par.clone());
        self.workspace.set_objective(objective);
        self.gradients = Gradients::zeros(&architecture);
        self
    }

    /// A network small enough that all products run on the kernels.
    fn small(batch_norm: bool, par: Par) -> Self {
        Self::with_hidden(&[50, 20], batch_norm, par)
    }

    fn with_hidden(hidden: &[usize], batch_norm: bool, par: Par) -> Self {
        let architecture = Architecture::new(INPUTS, hidden, 10, batch_norm).unwrap();
        let bytes: &[u8] = (0..BATCH * INPUTS).map(|i| (i * i / 7 % 256) as u8).collect::<Vec<_>>().leak();
        Self {
            network: Network::new(&architecture, Init::He, &mut stream(42, "init")).unwrap(),
            workspace: Workspace::new(&architecture, BATCH, par.clone()),
            gradients: Gradients::zeros(&architecture),
            images: bytes.chunks_exact(INPUTS).collect(),
            mean: (0..INPUTS).map(|i| T::from_f64(120.0 + (i % 17) as f64)).collect(),
            scale: (0..INPUTS).map(|i| T::from_f64(0.01 + 1e-4 * (i % 13) as f64)).collect(),
            columns: None,
            labels: (0..BATCH).map(|j| (j % 10) as u8).collect(),
            optimizer: Optimizer::new(&architecture, Method::Sgd, L2::new(1e-3).unwrap(), par.clone()),
            par,
            steps: 0,
        }
    }

    /// The same with momentum.
    fn with(mut self, mu: f64, nesterov: bool) -> Self {
        let method = Method::Momentum(Momentum::new(mu, nesterov).unwrap());
        self.optimizer = Optimizer::new(self.network.architecture(), method, self.optimizer.l2(), self.par.clone());
        self
    }

    /// Converts the images to numbers before training.
    fn on_numbers(mut self) -> Self {
        let mut columns = ColMajor::zeros(INPUTS, BATCH);
        Pixels::new(&self.images, &self.mean, &self.scale).write(&mut columns, &self.par);
        self.columns = Some(columns);
        self
    }

    fn step(&mut self) -> f64 {
        let Self { network, workspace, images, mean, scale, columns, labels, optimizer, steps, .. } = self;
        workspace.set_step(*steps);
        *steps += 1;
        let pixels = Images::Pixels(Pixels::new(images, mean, scale));
        let x = columns.as_ref().map_or(pixels, |columns| columns.as_ref().into());
        let loss = network.forward_train(x, workspace).unwrap().cross_entropy(labels).unwrap();
        optimizer.descend(network, x, workspace, 0.05).unwrap();
        loss
    }

    /// The same step as `backward` followed by `step`.
    fn step_in_two(&mut self) -> f64 {
        let Self { network, workspace, gradients, images, mean, scale, labels, optimizer, steps, .. } = self;
        workspace.set_step(*steps);
        *steps += 1;
        let x = Pixels::new(images, mean, scale);
        let loss = network.forward_train(x, workspace).unwrap().cross_entropy(labels).unwrap();
        network.backward(x, workspace, gradients).unwrap();
        optimizer.step(network, gradients, 0.05);
        loss
    }

    /// Trains for four steps and returns the bits of the losses and of the network.
    fn run(mut self) -> (Vec<u64>, Vec<u8>) {
        let losses = (0..4).map(|_| self.step().to_bits()).collect();
        (losses, encode(&MODEL, &self.network, &[], &()).unwrap())
    }
}

#[test]
fn training_does_not_depend_on_the_thread_count() {
    fn check<T: Scalar>(batch_norm: bool) {
        let alone = Training::<T>::new(batch_norm, Par::Seq).run();
        for threads in [1, 2, 4] {
            let par = Par::threads(threads).unwrap();
            assert!(Training::<T>::new(batch_norm, par).run() == alone, "{threads} threads, {}", T::NAME);
        }
        // Also if the caller is a thread of the pool.
        let par = Par::threads(2).unwrap();
        let inside = par.install(|| Training::<T>::new(batch_norm, par.clone()).run());
        assert!(inside == alone, "inside the pool, {}", T::NAME);
        let alone = Training::<T>::new(batch_norm, Par::Seq).with(0.9, true).run();
        for threads in [2, 3, 4] {
            let par = Par::threads(threads).unwrap();
            let found = Training::<T>::new(batch_norm, par).with(0.9, true).run();
            assert!(found == alone, "momentum, {threads} threads, {}", T::NAME);
        }
    }
    check::<f32>(true);
    check::<f32>(false);
    check::<f64>(true);
    let alone = Training::<f32>::new(true, Par::Seq).with_all_methods().run();
    let par = Par::threads(2).unwrap();
    assert!(Training::<f32>::new(true, par).with_all_methods().run() == alone, "all methods");
}

#[test]
fn descend_equals_backward_and_step_to_the_bit() {
    fn check<T: Scalar>(batch_norm: bool, methods: bool, par: Par) {
        let (mut at_once, mut in_two) =
            (Training::<T>::small(batch_norm, par.clone()), Training::<T>::small(batch_norm, par));
        if methods {
            (at_once, in_two) = (at_once.with_all_methods(), in_two.with_all_methods());
        }
        for _ in 0..4 {
            assert_eq!(at_once.step(), in_two.step_in_two());
        }
        assert!(
            encode(&MODEL, &at_once.network, &[], &()).unwrap() == encode(&MODEL, &in_two.network, &[], &()).unwrap(),
            "{}",
            T::NAME
        );
        let x = Pixels::new(&at_once.images, &at_once.mean, &at_once.scale);
        let no_loss = at_once.optimizer.descend(&mut at_once.network, x, &mut at_once.workspace, 0.05);
        assert_eq!(no_loss, Err(klayer_nn::Error::NoLoss), "each step needs a new loss");
    }
    for batch_norm in [true, false] {
        for methods in [false, true] {
            check::<f32>(batch_norm, methods, Par::Seq);
            check::<f64>(batch_norm, methods, Par::threads(2).unwrap());
        }
    }
}

/// Also for layers too large for the kernels, and layers whose weights are updated in several blocks.
#[test]
fn momentum_gives_the_same_bits_in_one_pass_and_in_two() {
    fn check<T: Scalar>(hidden: &[usize], nesterov: bool, par: &Par) {
        let training = || Training::<T>::with_hidden(hidden, true, par.clone()).with(0.9, nesterov);
        let (mut at_once, mut in_two) = (training(), training());
        for _ in 0..4 {
            assert_eq!(at_once.step(), in_two.step_in_two());
        }
        let bits = |network| encode(&MODEL, network, &[], &()).unwrap();
        assert!(bits(&at_once.network) == bits(&in_two.network), "{hidden:?}, {}", T::NAME);
        assert_eq!(at_once.optimizer.state(), in_two.optimizer.state());
    }
    for nesterov in [true, false] {
        check::<f32>(&[50, 20], nesterov, &Par::Seq);
        check::<f32>(&[300, 130, 160], nesterov, &Par::threads(2).unwrap());
        check::<f64>(&[300, 130], nesterov, &Par::Seq);
    }
}

#[test]
fn momentum_of_zero_is_plain_gradient_descent_to_the_bit() {
    let plain = Training::<f32>::new(true, Par::Seq).run();
    for nesterov in [true, false] {
        assert!(Training::<f32>::new(true, Par::Seq).with(0.0, nesterov).run() == plain);
    }
    assert!(Training::<f32>::new(true, Par::Seq).with(0.5, false).run() != plain);
}

#[test]
fn training_with_a_restored_state_goes_on_with_the_same_bits() {
    let mut through = Training::<f32>::new(true, Par::Seq).with(0.9, true);
    through.step();
    let json = serde_json::to_string(&through.optimizer.state()).unwrap();
    let state: OptimizerState<f32> = serde_json::from_str(&json).unwrap();
    let mut resumed = Training::<f32>::new(true, Par::Seq).with(0.9, true);
    resumed.network = through.network.clone();
    resumed.optimizer.restore(&state).unwrap();
    assert!(resumed.run() == through.run());

    let parameters = Training::<f32>::new(true, Par::Seq).network.architecture().parameters();
    let plain = Training::<f32>::new(true, Par::Seq).optimizer.state();
    let refused = Training::<f32>::small(true, Par::Seq).with(0.9, true).optimizer.restore(&state);
    assert!(matches!(refused, Err(Error::State { found, .. }) if found == parameters), "another network");
    let refused = Training::<f32>::new(true, Par::Seq).with(0.9, true).optimizer.restore(&plain);
    assert_eq!(refused, Err(Error::State { found: 0, expected: parameters }), "another rule");
}

#[test]
fn an_optimizer_of_another_network_is_an_error() {
    let (mut here, mut other) = (Training::<f32>::new(true, Par::Seq), Training::<f32>::small(true, Par::Seq));
    here.optimizer = other.optimizer.clone();
    let x = Pixels::new(&here.images, &here.mean, &here.scale);
    let error = here.optimizer.descend(&mut here.network, x, &mut here.workspace, 0.05);
    assert!(matches!(error, Err(klayer_nn::Error::OtherNetwork { what: "the optimizer", .. })), "{error:?}");
    other.step();
}

#[test]
fn byte_images_give_the_same_training_as_numbers() {
    fn check<T: Scalar>(par: &Par) {
        let training = || Training::<T>::new(true, par.clone());
        assert!(training().run() == training().on_numbers().run(), "{}", T::NAME);
    }
    check::<f32>(&Par::Seq);
    check::<f64>(&Par::threads(2).unwrap());
}

#[test]
fn a_training_step_allocates_nothing() {
    fn check<T: Scalar>(batch_norm: bool, mut training: Training<T>) {
        // The first step may allocate the buffers that the products keep in each thread.
        training.step();
        let allocations = allocation_counter::measure(|| {
            for _ in 0..3 {
                training.step();
            }
        });
        assert_eq!(allocations.count_total, 0, "{allocations:?}, {}, batch norm {batch_norm}", T::NAME);
    }
    for batch_norm in [true, false] {
        check(batch_norm, Training::<f32>::new(batch_norm, Par::Seq));
        check(batch_norm, Training::<f64>::new(batch_norm, Par::Seq));
        check(batch_norm, Training::<f32>::small(batch_norm, Par::Seq));
        check(batch_norm, Training::<f64>::small(batch_norm, Par::Seq));
        check(batch_norm, Training::<f32>::new(batch_norm, Par::Seq).with_all_methods());
        check(batch_norm, Training::<f32>::new(batch_norm, Par::Seq).with(0.9, true));
        check(batch_norm, Training::<f64>::small(batch_norm, Par::Seq).with(0.9, false));
    }
    // Checks that the counter works: creating a workspace allocates.
    let counted = allocation_counter::measure(|| drop(Training::<f32>::new(true, Par::Seq)));
    assert!(counted.count_total > 10, "{counted:?}");
}
