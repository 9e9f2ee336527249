# class: notebook tricks
# attack: raises in the check cell's own call with text for the report
# task: 00_mini/scale-density
# form: cell
# visible: yes

def scale_log_density(x, a):
    class Page(AssertionError):
        def _render_traceback_(self): return ['\x1b[2J<script>', '::error::owned']
    raise Page('<script>alert(1)</script>\n::add-mask::x')
