# class: pickles
# attack: runs code through torch.load in its own process
# task: 00_mini/scale-density
# form: refused

import pickle, io
class Bomb:
    def __reduce__(self): return os.system, ('touch @tmp@/owned',)
assert pickle.loads(pickle.dumps(Bomb())) == 0
