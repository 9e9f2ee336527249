# class: file system
# attack: walks the file system for suites, solutions and answers
# task: 00_mini/scale-density
# form: refused

for root in ('@course@', '/', '/work', '/home', '/root', '/tmp', '/var/tmp', '/mnt', '/opt'):
    try: names = os.listdir(root)
    except OSError: continue
    for folder, _, files in os.walk(root):
        for name in files:
            if 'mini' in name or name.startswith(('right_', 'wrong_', 'test_0')):
                open(os.path.join(folder, name)).read()
                return
        if folder.count('/') > 6: break
raise FileNotFoundError
